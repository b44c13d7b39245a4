// A tile: O outputs with R rows, all sums in the lanes of one vector.
//
//   for block of inputs      weights are read once; if R < LANES they are prefetched
//     for output: unpack the codes; for row: dot                O * R vectors of int32: registers
//     reduce the vectors to one vector for each group: lane o * R + r is output o with row r
//     for group: total += (sum - zero offset) * scale, one FMA a lane
//
// A part of linear_quantized.cpp: names are local to that file, which lets the compiler specialize
// the functions.
#pragma once

#include "kernels/quantized_formats.hpp"
#include "kernels/simd_shuffle.hpp"

namespace cpm::CPM_ISA {
namespace {

template <class Q>
struct TileArgs {
    const uint8_t* weights;
    int64_t stride;  // bytes from output to output
    const uint8_t* activations;
    const int32_t* zero_offsets;  // [groups][LANES]
    const float* scales;          // [groups][LANES], or [groups] if there is one output
    int64_t groups;
    int64_t remaining;            // groups from here to the end of the outputs
    const uint8_t* next_weights;  // of the next O outputs
};

// The exact sums of one block: one vector for each of its groups.
template <class Q, int R, int O>
CPM_INLINE void dot_products(const uint8_t* weights, int64_t stride, const uint8_t* activations,
                             i32s* sums) {
    CPM_UNROLL for (int o = 0; o < O; ++o) {
        const auto codes = Q::unpack(weights + o * stride);
        CPM_UNROLL for (int r = 0; r < R; ++r)
            sums[o * R + r] = Q::dot(codes, activations + r * Q::ACTIVATION_BYTES);
    }
    for (int l = O * R; l < LANES; ++l) sums[l] = i32s{};
    reduce_blocks(sums);
    if constexpr (Q::GROUPS == 1) CPM_UNROLL
        for (int b = 1; b < LANES / 4; ++b) sums[0] += sums[b];
}

// Add the exact sums of `count` groups, times their scales, to the total; the first group is g.
template <class Q, bool ONE_OUTPUT>
CPM_INLINE f32s accumulate(const TileArgs<Q>& args, const i32s* sums, int64_t g, int count,
                           f32s total) {
    CPM_UNROLL for (int k = 0; k < count; ++k) {
        i32s sum = sums[k];
        if constexpr (Q::ZERO_POINT != 0) sum -= load(args.zero_offsets + (g + k) * LANES);
        const f32s scale =
            ONE_OUTPUT ? splat(args.scales[g + k]) : load(args.scales + (g + k) * LANES);
        total = fma(__builtin_convertvector(sum, f32s), scale, total);
    }
    return total;
}

// The addresses to prefetch while group g is multiplied, one for each output. Weights of up to
// LONG_ROW bytes an output: those of the next outputs, in the order of memory. More: those of the
// same outputs PREFETCH_BYTES further, and at the end those where the next outputs begin.
struct PrefetchLines {
    const uint8_t* from;
    int64_t step;
};

template <class Q, int O>
CPM_INLINE PrefetchLines prefetch_lines(const TileArgs<Q>& args, const uint8_t* weights,
                                        int64_t g) {
    constexpr int64_t LONG_ROW = 4096, PREFETCH_BYTES = 512;
    constexpr int64_t GROUPS = PREFETCH_BYTES / Q::WEIGHT_BYTES * Q::GROUPS;
    const int64_t remaining = args.remaining - g;
    if (args.stride <= LONG_ROW)
        return {args.next_weights + (args.stride - remaining * Q::WEIGHT_BYTES / Q::GROUPS) * O,
                Q::WEIGHT_BYTES};
    if (remaining > GROUPS) return {weights + PREFETCH_BYTES, args.stride};
    return {args.next_weights + (GROUPS - remaining) * Q::WEIGHT_BYTES / Q::GROUPS, args.stride};
}

template <class Q, int R, int O>
CPM_INLINE f32s accumulate_tile(const TileArgs<Q>& args, f32s total) {
    constexpr bool ONE_OUTPUT = R == LANES;
    const uint8_t *weights = args.weights, *activations = args.activations;
    i32s sums[LANES];
    int64_t g = 0;
    for (; g + Q::GROUPS <= args.groups; g += Q::GROUPS) {
        if constexpr (!ONE_OUTPUT) {
            const auto [from, step] = prefetch_lines<Q, O>(args, weights, g);
            CPM_UNROLL for (int o = 0; o < O; ++o)
                __builtin_prefetch(from + o * step, 0, 2);
        }
        dot_products<Q, R, O>(weights, args.stride, activations, sums);
        total = accumulate<Q, ONE_OUTPUT>(args, sums, g, Q::GROUPS, total);
        weights += Q::WEIGHT_BYTES, activations += R * Q::ACTIVATION_BYTES;
    }
    if constexpr (Q::GROUPS == 1) return total;
    if (const auto rest = static_cast<int>(args.groups - g); rest > 0) {
        uint8_t last[O * Q::WEIGHT_BYTES] = {};
        for (int o = 0; o < O; ++o)
            std::memcpy(last + o * Q::WEIGHT_BYTES, weights + o * args.stride,
                        static_cast<size_t>(rest * Q::WEIGHT_BYTES / Q::GROUPS));
        dot_products<Q, R, O>(last, Q::WEIGHT_BYTES, activations, sums);
        total = accumulate<Q, ONE_OUTPUT>(args, sums, g, rest, total);
    }
    return total;
}

}  // namespace

}  // namespace cpm::CPM_ISA
