// Sixteen 16-bit integers at a time: what products of integers need beyond simd.hpp.
#pragma once

#include "simd.hpp"

#if defined(__SSE2__) && !defined(__AVX2__)
#include <emmintrin.h>
#endif

// Before a loop of a few turns whose array is to live in registers, however long its body.
#if defined(__clang__)
#define CPM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CPM_UNROLL _Pragma("GCC unroll 8")
#endif

namespace cpm::CPM_ISA {

typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef int16_t i16x16 __attribute__((vector_size(32)));

constexpr int64_t PAIRED = 16;  // integers in a vector

CPM_INLINE i16x16 load(const int16_t* at) {
    i16x16 x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

CPM_INLINE i16x16 widen(const int8_t* at) {
    i8x16 x;
    std::memcpy(&x, at, sizeof x);
#if defined(__AVX2__)
    return (i16x16)_mm256_cvtepi8_epi16((__m128i)x);  // GCC 12 would make it of two halves
#else
    return __builtin_convertvector(x, i16x16);
#endif
}

CPM_INLINE i16x16 widen(const uint8_t* at) {
    u8x16 x;
    std::memcpy(&x, at, sizeof x);
#if defined(__AVX2__)
    return (i16x16)_mm256_cvtepu8_epi16((__m128i)x);
#else
    return __builtin_convertvector(x, i16x16);
#endif
}

// Return a[2i] b[2i] + a[2i+1] b[2i+1], exactly unless all four are -32768.
CPM_INLINE i32x8 pairs(i16x16 a, i16x16 b) {
#if defined(__AVX2__)
    return (i32x8)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    __m128i left[2], right[2];
    std::memcpy(left, &a, sizeof a);
    std::memcpy(right, &b, sizeof b);
    for (int i = 0; i < 2; ++i) left[i] = _mm_madd_epi16(left[i], right[i]);
    i32x8 sums;
    std::memcpy(&sums, left, sizeof sums);
    return sums;
#else
    const i32x8 x = (i32x8)a, y = (i32x8)b;
    return (x >> 16) * (y >> 16) + (x << 16 >> 16) * (y << 16 >> 16);
#endif
}

// Return eight numbers of at most 2^22 rounded to the nearest integer, ties to even.
CPM_INLINE i32x8 nearest(f32x8 x) {
    const f32x8 magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    return (i32x8)(x + magic) - (i32x8)magic;
}

}  // namespace cpm::CPM_ISA
