// What the linear kernels share: how outputs are cut into tasks, and the size of a tile.
#pragma once

#include "kernels/kernels.hpp"
#include "kernels/simd_convert.hpp"

namespace cpm::CPM_ISA {

#if defined(__AVX512F__)
constexpr int TILE_ROWS = 12;  // 12 x 2 sums of 32 registers
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int TILE_ROWS = 6;  // 6 x 2 sums, two weights and a factor: 15 of 16 registers
#else
constexpr int TILE_ROWS = 2;  // a vector takes two registers
#endif

CPM_INLINE int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Return a width, a multiple of 32 and at most `most`, that gives every thread the same number of
// tasks of nearly equal size, a few if there is work enough, so that a delayed thread is helped.
CPM_INLINE int64_t outputs_per_task(int64_t outputs, int64_t threads, int64_t max) {
    const int64_t rounds = ceil_div(outputs, max * threads);
    return ceil_div(ceil_div(outputs, rounds * threads), 32) * 32;
}

constexpr int GEMV_MAX_ROWS = 8;  // more are computed faster in blocks

void linear_gemv(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);
void linear_gemm(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);
void linear_transposed(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);

}  // namespace cpm::CPM_ISA
