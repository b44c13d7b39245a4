// Vectors of integers: exact products.
#pragma once

#include "kernels/simd.hpp"

#if defined(__SSE2__) && !defined(__AVX2__)
#include <emmintrin.h>
#endif

namespace cpm::CPM_ISA {

constexpr int64_t I16_LANES = 2 * LANES;  // int16 in a vector
constexpr int64_t I8_LANES = 4 * LANES;   // int8 in a vector

typedef int8_t i8s __attribute__((vector_size(I16_LANES)));
typedef uint8_t u8s __attribute__((vector_size(I16_LANES)));
typedef int16_t i16h __attribute__((vector_size(2 * LANES)));  // half a vector
typedef int16_t i16s __attribute__((vector_size(2 * I16_LANES)));

CPM_INLINE i32s load(const int32_t* at) {
    i32s x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

CPM_INLINE i16s load(const int16_t* at) {
    i16s x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

CPM_INLINE i16s load_as_i16(const int8_t* at) {
    i8s x;
    std::memcpy(&x, at, sizeof x);
#if defined(__AVX512F__)
    return (i16s)_mm512_cvtepi8_epi16((__m256i)x);
#elif defined(__AVX2__)
    return (i16s)_mm256_cvtepi8_epi16((__m128i)x);  // GCC 12 converts two halves without it
#else
    return __builtin_convertvector(x, i16s);
#endif
}

// Return sum[i] + a[2i] b[2i] + a[2i+1] b[2i+1]; the caller avoids overflow.
CPM_INLINE i32s madd_pairs(i32s sum, i16s a, i16s b) {
#if defined(__AVX512VNNI__)
    return (i32s)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return sum + (i32s)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    __m128i left[2], right[2];
    std::memcpy(left, &a, sizeof a);
    std::memcpy(right, &b, sizeof b);
    for (int i = 0; i < 2; ++i) left[i] = _mm_madd_epi16(left[i], right[i]);
    i32s sums;
    std::memcpy(&sums, left, sizeof sums);
    return sum + sums;
#else
    const i32s x = (i32s)a, y = (i32s)b;
    return sum + (x >> 16) * (y >> 16) + (x << 16 >> 16) * (y << 16 >> 16);
#endif
}

// Round to the nearest integer, ties to even; |x| is at most 2^22.
CPM_INLINE i32s round_to_i32(f32s x) {
    const f32s magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    return (i32s)(x + magic) - (i32s)magic;
}

}  // namespace cpm::CPM_ISA
