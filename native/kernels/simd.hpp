// A vector of float32: the operations that the kernels need.
//
// Every kernel file is compiled once for each instruction set, into the namespace CPM_ISA. The
// vectors are the compiler's own types (GCC, Clang), so one source serves SSE2, AVX2, AVX-512 and
// NEON. Intrinsics are used only where the compiler has no good code of its own: FMA, conversions,
// partial vectors, integer products. Kernel files call no inline function of the standard library:
// the linker keeps one copy of such a function, and it could be compiled for AVX2.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define CPM_INLINE static inline __attribute__((always_inline))

// Unroll the loop that follows, so that its array stays in registers.
#if defined(__clang__)
#define CPM_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__AVX512F__)
#define CPM_UNROLL _Pragma("GCC unroll 16")
#else
#define CPM_UNROLL _Pragma("GCC unroll 8")
#endif

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
CPM_INLINE f32s splat(float x) { return x - zero(); }  // not +: it would turn -0 into 0

CPM_INLINE f32s load(const float* at) {
    f32s x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

CPM_INLINE void store(float* at, f32s x) { std::memcpy(at, &x, sizeof x); }

// Return a * b + c, rounded once where there is an FMA instruction.
CPM_INLINE f32s fma(f32s a, f32s b, f32s c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

CPM_INLINE f32s max(f32s a, f32s b) { return a > b ? a : b; }

// Return the sum of the lanes, in a fixed order.
CPM_INLINE float reduce_sum(f32s x) {
    typedef float f32x8 __attribute__((vector_size(32)));
    f32x8 parts[LANES / 8];
    std::memcpy(parts, &x, sizeof x);
    for (int64_t i = 1; i < LANES / 8; ++i) parts[0] += parts[i];
    const f32x8 p = parts[0];
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

CPM_INLINE float reduce_max(f32s x) {
    float top = x[0];
    for (int i = 1; i < LANES; ++i) top = x[i] > top ? x[i] : top;
    return top;
}

}  // namespace cpm::CPM_ISA
