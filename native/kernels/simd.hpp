// A vector of floats: what the kernels need of a processor, and nothing else.
//
// Every kernel file is compiled once for each instruction set, into the namespace CPM_ISA. The
// vectors are the compiler's own (GCC, Clang), so that one text serves SSE2, AVX2, AVX-512 and
// NEON; only FMA and float16 have instructions of their own. Kernel files call no inline function
// of the standard library: the linker keeps one copy of those, and it might be the one made for
// AVX2.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define CPM_INLINE static inline __attribute__((always_inline))

namespace cpm::CPM_ISA {

#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif

typedef float f32s __attribute__((vector_size(4 * LANES)));
typedef int32_t i32s __attribute__((vector_size(4 * LANES)));
typedef uint32_t u32s __attribute__((vector_size(4 * LANES)));
typedef uint16_t u16s __attribute__((vector_size(2 * LANES)));

CPM_INLINE f32s zero() { return f32s{}; }
CPM_INLINE f32s splat(float x) { return x - zero(); }  // not +: -0 stays what it is

CPM_INLINE f32s load(const float* at) {
    f32s x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

CPM_INLINE void store(float* at, f32s x) { std::memcpy(at, &x, sizeof x); }

// Return a * b + c; on x86-64 with FMA rounded once.
CPM_INLINE f32s fma(f32s a, f32s b, f32s c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

CPM_INLINE f32s largest(f32s a, f32s b) { return a > b ? a : b; }

// Return the sum of the lanes; always in the same order.
CPM_INLINE float sum(f32s x) {
    typedef float f32x8 __attribute__((vector_size(32)));
    f32x8 parts[LANES / 8];
    std::memcpy(parts, &x, sizeof x);
    for (int64_t i = 1; i < LANES / 8; ++i) parts[0] += parts[i];
    const f32x8 p = parts[0];
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

CPM_INLINE float largest(f32s x) {
    float most = x[0];
    for (int i = 1; i < LANES; ++i) most = x[i] > most ? x[i] : most;
    return most;
}

// How the three kinds of elements are read: a vector, or the first n with zeros behind them.
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
        // Shifted into place the exponent is 112 too small, in subnormal numbers as well.
        const u32s wide = __builtin_convertvector(bits, u32s);
        const u32s sign = (wide & 0x8000u) << 16;
        const f32s scaled = (f32s)((wide & 0x7fffu) << 13) * splat(0x1p112f);
        const u32s special = (u32s)((wide & 0x7c00u) == 0x7c00u) & 0x7f800000u;
        return (f32s)((u32s)scaled | special | sign);
#endif
    }
};

template <class E>
CPM_INLINE f32s load_first(const typename E::type* at, int64_t n) {
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

CPM_INLINE void store_first(float* at, f32s x, int64_t n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(at, static_cast<__mmask16>((1u << n) - 1), x);  // n is below LANES
#else
    for (int64_t i = 0; i < n; ++i) at[i] = x[i];
#endif
}

// Write a vector as float16, rounded to the nearest, ties to even.
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
    // Normal: rebias the exponent, add half a unit less one, plus the bit that makes ties even.
    const u32s odd = (magnitude >> 13) & 1u;
    const u32s normal = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    // Subnormal: adding 0.5 moves the bits to the end of the significand, rounded by the adder.
    const u32s tiny = (u32s)((f32s)magnitude + splat(0.5f)) - 0x3f000000u;
    u32s half = magnitude < 0x38800000u ? tiny : normal;
    half = magnitude >= 0x47800000u ? (u32s{} + 0x7c00u) : half;
    half = magnitude > 0x7f800000u ? (u32s{} + 0x7e00u) : half;
    const u16s narrow = __builtin_convertvector(half | sign, u16s);
    std::memcpy(at, &narrow, sizeof narrow);
#endif
}

// Return e to the x within two units in the last place; 0 below -87, infinity above 88.
// The usual reduction to |r| <= ln 2 / 2, ln 2 in two parts, and the series' minimax form.
CPM_INLINE f32s exponential(f32s x) {
    const f32s low = splat(-87.0f), high = splat(88.0f);
    const f32s clamped = x < low ? low : (x > high ? high : x);
    const f32s magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const f32s shifted = fma(clamped, splat(1.44269504f), magic);
    const f32s whole = shifted - magic;
    f32s r = fma(whole, splat(-0.693359375f), clamped);
    r = fma(whole, splat(2.12194440e-4f), r);
    f32s p = splat(1.9875691500e-4f);
    p = fma(p, r, splat(1.3981999507e-3f));
    p = fma(p, r, splat(8.3334519073e-3f));
    p = fma(p, r, splat(4.1665795894e-2f));
    p = fma(p, r, splat(1.6666665459e-1f));
    p = fma(p, r, splat(5.0000001201e-1f));
    p = fma(p, r * r, r) + splat(1.0f);
    const i32s exponent = (i32s)shifted << 23;  // the low bits of `shifted` are the number
    const f32s result = (f32s)((i32s)p + exponent);
    return x < low ? zero() : (x > high ? splat(__builtin_inff()) : result);
}

}  // namespace cpm::CPM_ISA
