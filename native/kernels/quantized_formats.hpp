// The formats q8 and q4: how a block of weights is unpacked and multiplied with activations.
//
// A block is what is multiplied at a time: GROUPS groups of GROUP inputs of one output. `dot` gives
// its products, summed into the LANES lanes of a vector, exactly.
//
// A part of linear_quantized.cpp: names are local to that file, which lets the compiler specialize
// the functions.
#pragma once

#include "kernels/quantize.hpp"
#include "runtime/element.hpp"

namespace cpm::CPM_ISA {
namespace {

struct Q8 {
    static constexpr int64_t GROUP = GROUP_Q8, GROUPS = 1, WEIGHT_BYTES = 64,
                             ACTIVATION_BYTES = 128;
    static constexpr int32_t ZERO_POINT = 0;  // the code of weight 0
    struct Codes {
        i16s part[64 / I16_LANES];
    };
    CPM_INLINE Codes unpack(const uint8_t* from) {
        Codes codes;
        CPM_UNROLL for (int i = 0; i < 64 / I16_LANES; ++i)
            codes.part[i] = load_as_i16(reinterpret_cast<const int8_t*>(from) + i * I16_LANES);
        return codes;
    }
    CPM_INLINE i32s dot(const Codes& codes, const uint8_t* activations) {
        const auto* const x = reinterpret_cast<const int16_t*>(activations);
        i32s sum = {};
        CPM_UNROLL for (int i = 0; i < 64 / I16_LANES; ++i)
            sum = madd_pairs(sum, codes.part[i], load(x + i * I16_LANES));
        return sum;
    }
    CPM_INLINE void store_activations(const int16_t* from, uint8_t* to) {
        std::memcpy(to, from, ACTIVATION_BYTES);
    }
};

#if defined(__AVX2__)
// Products of bytes: unsigned codes with the high and the low bytes of the activations. Four lanes
// are a group, so a vector holds LANES / 4 groups.
struct Q4 {
    static constexpr int64_t GROUP = GROUP_Q4, GROUPS = LANES / 4;
    static constexpr int64_t WEIGHT_BYTES = I8_LANES, ACTIVATION_BYTES = 4 * I8_LANES;
    static constexpr int32_t ZERO_POINT = 8;
#if defined(__AVX512VNNI__)
    using Bytes = __m512i;
    CPM_INLINE Bytes load_bytes(const uint8_t* at) { return _mm512_loadu_si512(at); }
    CPM_INLINE Bytes dots(Bytes sum, Bytes a, Bytes x, Bytes b, Bytes y) {
        return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, a, x), b, y);
    }
    CPM_INLINE Bytes dots(Bytes a, Bytes x, Bytes b, Bytes y) {
        return dots(_mm512_setzero_si512(), a, x, b, y);
    }
    CPM_INLINE i32s dot(Bytes codes, const uint8_t* x) {
        const Bytes low = _mm512_and_si512(codes, _mm512_set1_epi8(15));
        const Bytes high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
        const Bytes high_dots = dots(low, load_bytes(x), high, load_bytes(x + I8_LANES));
        return (i32s)dots(_mm512_slli_epi32(high_dots, 8), low, load_bytes(x + 2 * I8_LANES), high,
                          load_bytes(x + 3 * I8_LANES));
    }
#else
    using Bytes = __m256i;
    CPM_INLINE Bytes load_bytes(const uint8_t* at) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    }
    // Each 16-bit sum has four products of at most 15 * 128, so it does not overflow.
    CPM_INLINE Bytes dots(Bytes a, Bytes x, Bytes b, Bytes y) {
        return _mm256_add_epi16(_mm256_maddubs_epi16(a, x), _mm256_maddubs_epi16(b, y));
    }
    CPM_INLINE i32s dot(Bytes codes, const uint8_t* x) {
        const Bytes low = _mm256_and_si256(codes, _mm256_set1_epi8(15));
        const Bytes high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), _mm256_set1_epi8(15));
        const Bytes high_dots = dots(low, load_bytes(x), high, load_bytes(x + I8_LANES));
        const Bytes low_dots =
            dots(low, load_bytes(x + 2 * I8_LANES), high, load_bytes(x + 3 * I8_LANES));
        return (i32s)_mm256_madd_epi16(high_dots, _mm256_set1_epi16(256)) +
               (i32s)_mm256_madd_epi16(low_dots, _mm256_set1_epi16(1));
    }
#endif
    using Codes = Bytes;
    CPM_INLINE Codes unpack(const uint8_t* from) { return load_bytes(from); }
    // High bytes of the first 16 inputs of every group, high bytes of the last 16, then the low
    // bytes in the same order.
    CPM_INLINE void store_activations(const int16_t* from, uint8_t* to) {
        for (int64_t i = 0; i < GROUPS * GROUP; i += 16) {
            uint8_t* const at = to + i / GROUP * 16 + (i % GROUP ? I8_LANES : 0);
            split_bytes(from + i, at, at + 2 * I8_LANES);
        }
    }
};
#else
struct Q4 {
    static constexpr int64_t GROUP = GROUP_Q4, GROUPS = 1, WEIGHT_BYTES = 16, ACTIVATION_BYTES = 64;
    static constexpr int32_t ZERO_POINT = 8;
    using Codes = i16s;
    CPM_INLINE Codes unpack(const uint8_t* from) {
        u8s x;
        std::memcpy(&x, from, sizeof x);
        return __builtin_convertvector(x, i16s);
    }
    CPM_INLINE i32s dot(Codes codes, const uint8_t* activations) {
        const auto* const x = reinterpret_cast<const int16_t*>(activations);
        return madd_pairs(madd_pairs(i32s{}, codes & 15, load(x)), codes >> 4, load(x + I16_LANES));
    }
    CPM_INLINE void store_activations(const int16_t* from, uint8_t* to) {
        std::memcpy(to, from, ACTIVATION_BYTES);
    }
};
#endif

}  // namespace

}  // namespace cpm::CPM_ISA
