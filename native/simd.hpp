// Eight floats at a time: what the kernels need of a processor, and nothing else.
//
// Every kernel file is compiled once for each instruction set, into the namespace CPM_ISA. The
// vectors are the compiler's own (GCC, Clang), so that one text serves SSE2, AVX2 and NEON; only
// FMA and float16 have instructions of their own. Kernel files call no inline function of the
// standard library: the linker keeps one copy of those, and it might be the one made for AVX2.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define CPM_INLINE static inline __attribute__((always_inline))

namespace cpm::CPM_ISA {

typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));

constexpr int64_t LANES = 8;

CPM_INLINE f32x8 splat(float x) { return f32x8{x, x, x, x, x, x, x, x}; }
CPM_INLINE f32x8 zero() { return splat(0.0f); }

CPM_INLINE f32x8 load(const float* at) {
    f32x8 x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

CPM_INLINE void store(float* at, f32x8 x) { std::memcpy(at, &x, sizeof x); }

// Return a * b + c; on AVX2 rounded once.
CPM_INLINE f32x8 fma(f32x8 a, f32x8 b, f32x8 c) {
#if defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

CPM_INLINE f32x8 largest(f32x8 a, f32x8 b) { return a > b ? a : b; }

// Return the sum of the lanes; always in the same order.
CPM_INLINE float sum(f32x8 x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

CPM_INLINE float largest(f32x8 x) {
    float most = x[0];
    for (int i = 1; i < 8; ++i) most = x[i] > most ? x[i] : most;
    return most;
}

// How the three kinds of elements are read: eight, or the first n with zeros behind them.
struct F32 {
    using type = float;
    CPM_INLINE f32x8 load(const float* at) { return CPM_ISA::load(at); }
};

struct BF16 {
    using type = uint16_t;
    CPM_INLINE f32x8 load(const uint16_t* at) {
        u16x8 bits;
        std::memcpy(&bits, at, sizeof bits);
        return (f32x8)(__builtin_convertvector(bits, u32x8) << 16);
    }
};

struct F16 {
    using type = uint16_t;
    CPM_INLINE f32x8 load(const uint16_t* at) {
        u16x8 bits;
        std::memcpy(&bits, at, sizeof bits);
#if defined(__AVX2__)
        return _mm256_cvtph_ps((__m128i)bits);
#else
        // Shifted into place the exponent is 112 too small, in subnormal numbers as well.
        const u32x8 wide = __builtin_convertvector(bits, u32x8);
        const u32x8 sign = (wide & 0x8000u) << 16;
        const f32x8 scaled = (f32x8)((wide & 0x7fffu) << 13) * splat(0x1p112f);
        const u32x8 special = (u32x8)((wide & 0x7c00u) == 0x7c00u) & 0x7f800000u;
        return (f32x8)((u32x8)scaled | special | sign);
#endif
    }
};

template <class E>
CPM_INLINE f32x8 load_first(const typename E::type* at, int64_t n) {
    typename E::type some[LANES] = {};
    for (int64_t i = 0; i < n; ++i) some[i] = at[i];
    return E::load(some);
}

CPM_INLINE void store_first(float* at, f32x8 x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) at[i] = x[i];
}

// Write eight numbers as float16, rounded to the nearest, ties to even.
CPM_INLINE void store_f16(uint16_t* at, f32x8 x) {
#if defined(__AVX2__)
    const __m128i bits = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    std::memcpy(at, &bits, sizeof bits);
#else
    const u32x8 bits = (u32x8)x;
    const u32x8 sign = (bits >> 16) & 0x8000u;
    const u32x8 magnitude = bits & 0x7fffffffu;
    // Normal: rebias the exponent, add half a unit less one, plus the bit that makes ties even.
    const u32x8 odd = (magnitude >> 13) & 1u;
    const u32x8 normal = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    // Subnormal: adding 0.5 moves the bits to the end of the significand, rounded by the adder.
    const u32x8 tiny = (u32x8)((f32x8)magnitude + splat(0.5f)) - 0x3f000000u;
    u32x8 half = magnitude < 0x38800000u ? tiny : normal;
    half = magnitude >= 0x47800000u ? (u32x8{} + 0x7c00u) : half;
    half = magnitude > 0x7f800000u ? (u32x8{} + 0x7e00u) : half;
    const u16x8 narrow = __builtin_convertvector(half | sign, u16x8);
    std::memcpy(at, &narrow, sizeof narrow);
#endif
}

// Return e to the x within two units in the last place; 0 below -87, infinity above 88.
// The usual reduction to |r| <= ln 2 / 2, ln 2 in two parts, and the series' minimax form.
CPM_INLINE f32x8 exponential(f32x8 x) {
    const f32x8 low = splat(-87.0f), high = splat(88.0f);
    const f32x8 clamped = x < low ? low : (x > high ? high : x);
    const f32x8 magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const f32x8 shifted = fma(clamped, splat(1.44269504f), magic);
    const f32x8 whole = shifted - magic;
    f32x8 r = fma(whole, splat(-0.693359375f), clamped);
    r = fma(whole, splat(2.12194440e-4f), r);
    f32x8 p = splat(1.9875691500e-4f);
    p = fma(p, r, splat(1.3981999507e-3f));
    p = fma(p, r, splat(8.3334519073e-3f));
    p = fma(p, r, splat(4.1665795894e-2f));
    p = fma(p, r, splat(1.6666665459e-1f));
    p = fma(p, r, splat(5.0000001201e-1f));
    p = fma(p, r * r, r) + splat(1.0f);
    const i32x8 exponent = (i32x8)shifted << 23;  // the low bits of `shifted` are the number
    const f32x8 result = (f32x8)((i32x8)p + exponent);
    return x < low ? zero() : (x > high ? splat(__builtin_inff()) : result);
}

}  // namespace cpm::CPM_ISA
