// Sums of O outputs with R rows, in one vector.
#pragma once

#include "kernels/quantized_formats.hpp"
#include "kernels/simd_shuffle.hpp"

namespace cpm::CPM_ISA {
namespace {

// O outputs with R rows along groups; lane o * R + r is output o with row r.
template <class Q>
struct Strip {
    const uint8_t* weights;
    int64_t stride;  // bytes of an output
    const uint8_t* numbers;
    const int32_t* zeros;  // [groups][LANES]
    const float* scales;   // [groups][LANES], or [groups] if there is but one output
    int64_t groups;
    int64_t left;         // groups from here to the outputs' end
    const uint8_t* next;  // the outputs after these
};

template <class Q, int R, int O>
CPM_INLINE void multiply(const uint8_t* weights, int64_t stride, const uint8_t* numbers,
                         i32s* sums) {
    CPM_UNROLL for (int o = 0; o < O; ++o) {
        const auto codes = Q::unpack(weights + o * stride);
        CPM_UNROLL for (int r = 0; r < R; ++r)
            sums[o * R + r] = Q::dot(codes, numbers + r * Q::NUMBER_BYTES);
    }
    for (int l = O * R; l < LANES; ++l) sums[l] = i32s{};
    sum_blocks(sums);
    if constexpr (Q::GROUPS == 1) CPM_UNROLL
        for (int b = 1; b < LANES / 4; ++b) sums[0] += sums[b];
}

// Take the exact sums of `count` groups from group g on to the total.
template <class Q, bool ALONE>
CPM_INLINE f32s take(const Strip<Q>& s, const i32s* sums, int64_t g, int count, f32s total) {
    CPM_UNROLL for (int k = 0; k < count; ++k) {
        i32s sum = sums[k];
        if constexpr (Q::ZERO != 0) sum -= load(s.zeros + (g + k) * LANES);
        const f32s scale = ALONE ? splat(s.scales[g + k]) : load(s.scales + (g + k) * LANES);
        total = fma(__builtin_convertvector(sum, f32s), scale, total);
    }
    return total;
}

// Where weights are that come from memory while group g is multiplied, a line for each output.
// Short rows come whole, a tile ahead, in memory's order; long ones a part ahead.
struct Lines {
    const uint8_t* from;
    int64_t step;
};

template <class Q, int O>
CPM_INLINE Lines ahead(const Strip<Q>& s, const uint8_t* weights, int64_t g) {
    constexpr int64_t LONG = 4096, PART = 512;
    constexpr int64_t GROUPS = PART / Q::WEIGHT_BYTES * Q::GROUPS;
    const int64_t left = s.left - g;
    if (s.stride <= LONG)
        return {s.next + (s.stride - left * Q::WEIGHT_BYTES / Q::GROUPS) * O, Q::WEIGHT_BYTES};
    if (left > GROUPS) return {weights + PART, s.stride};
    return {s.next + (GROUPS - left) * Q::WEIGHT_BYTES / Q::GROUPS, s.stride};
}

template <class Q, int R, int O>
CPM_INLINE f32s tile(const Strip<Q>& s, f32s total) {
    constexpr bool ALONE = R == LANES;
    const uint8_t *weights = s.weights, *numbers = s.numbers;
    i32s sums[LANES];
    int64_t g = 0;
    for (; g + Q::GROUPS <= s.groups; g += Q::GROUPS) {
        if constexpr (!ALONE) {
            const auto [from, step] = ahead<Q, O>(s, weights, g);
            CPM_UNROLL for (int o = 0; o < O; ++o)
                __builtin_prefetch(from + o * step, 0, 2);
        }
        multiply<Q, R, O>(weights, s.stride, numbers, sums);
        total = take<Q, ALONE>(s, sums, g, Q::GROUPS, total);
        weights += Q::WEIGHT_BYTES, numbers += R * Q::NUMBER_BYTES;
    }
    if constexpr (Q::GROUPS == 1) return total;
    if (const auto rest = static_cast<int>(s.groups - g); rest > 0) {
        uint8_t last[O * Q::WEIGHT_BYTES] = {};
        for (int o = 0; o < O; ++o)
            std::memcpy(last + o * Q::WEIGHT_BYTES, weights + o * s.stride,
                        static_cast<size_t>(rest * Q::WEIGHT_BYTES / Q::GROUPS));
        multiply<Q, R, O>(last, Q::WEIGHT_BYTES, numbers, sums);
        total = take<Q, ALONE>(s, sums, g, rest, total);
    }
    return total;
}

}  // namespace

}  // namespace cpm::CPM_ISA
