// Conversion between stored elements and float32: whole vectors and partial ones.
#pragma once

#include "kernels/simd.hpp"

namespace cpm::CPM_ISA {

// The element types; `load` converts a vector of elements to float32.
struct F32 {
    using type = float;
    CPM_INLINE f32s load(const float* at) { return CPM_ISA::load(at); }
};

struct BF16 {
    using type = uint16_t;
    CPM_INLINE f32s load(const uint16_t* at) {
        u16s bits;
        std::memcpy(&bits, at, sizeof bits);
        return (f32s)(__builtin_convertvector(bits, u32s) << 16);
    }
};

struct F16 {
    using type = uint16_t;
    CPM_INLINE f32s load(const uint16_t* at) {
        u16s bits;
        std::memcpy(&bits, at, sizeof bits);
#if defined(__AVX512F__)
        return _mm512_cvtph_ps((__m256i)bits);
#elif defined(__AVX2__)
        return _mm256_cvtph_ps((__m128i)bits);
#else
        // After the shift the exponent is too small by 112, also for subnormal numbers.
        const u32s wide = __builtin_convertvector(bits, u32s);
        const u32s sign = (wide & 0x8000u) << 16;
        const f32s scaled = (f32s)((wide & 0x7fffu) << 13) * splat(0x1p112f);
        const u32s special = (u32s)((wide & 0x7c00u) == 0x7c00u) & 0x7f800000u;
        return (f32s)((u32s)scaled | special | sign);
#endif
    }
};

// Load the first n elements, with zeros behind them.
template <class E>
CPM_INLINE f32s load_partial(const typename E::type* at, int64_t n) {
    typename E::type some[LANES] = {};
#if defined(__AVX512F__)
    const uint32_t those = n < LANES ? (1u << (n < 0 ? 0 : n)) - 1 : 0xffffu;
    if constexpr (sizeof some[0] == 4)
        _mm512_storeu_ps(some, _mm512_maskz_loadu_ps(static_cast<__mmask16>(those), at));
    else
        _mm256_storeu_epi16(some, _mm256_maskz_loadu_epi16(static_cast<__mmask16>(those), at));
#else
    for (int64_t i = 0; i < n; ++i) some[i] = at[i];
#endif
    return E::load(some);
}

// Store the first n elements, n < LANES.
CPM_INLINE void store_partial(float* at, f32s x, int64_t n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(at, static_cast<__mmask16>((1u << n) - 1), x);
#else
    for (int64_t i = 0; i < n; ++i) at[i] = x[i];
#endif
}

// Store a vector as float16, rounded to nearest, ties to even.
CPM_INLINE void store_f16(uint16_t* at, f32s x) {
#if defined(__AVX512F__)
    const __m256i bits = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    std::memcpy(at, &bits, sizeof bits);
#elif defined(__AVX2__)
    const __m128i bits = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    std::memcpy(at, &bits, sizeof bits);
#else
    const u32s bits = (u32s)x;
    const u32s sign = (bits >> 16) & 0x8000u;
    const u32s magnitude = bits & 0x7fffffffu;
    // Normal: change the bias of the exponent; add 0xfff, and 1 if the last kept bit is odd.
    const u32s odd = (magnitude >> 13) & 1u;
    const u32s normal = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    // Subnormal: adding 0.5 shifts the bits to the end of the significand and rounds them.
    const u32s tiny = (u32s)((f32s)magnitude + splat(0.5f)) - 0x3f000000u;
    u32s half = magnitude < 0x38800000u ? tiny : normal;
    half = magnitude >= 0x47800000u ? (u32s{} + 0x7c00u) : half;
    half = magnitude > 0x7f800000u ? (u32s{} + 0x7e00u) : half;
    const u16s half_bits = __builtin_convertvector(half | sign, u16s);
    std::memcpy(at, &half_bits, sizeof half_bits);
#endif
}

}  // namespace cpm::CPM_ISA
