// Shared by the linear kernels: the outputs of a task, and the rows of a tile.
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

// Return the outputs of a task: a multiple of 32. Every thread gets the same number of tasks of
// nearly equal size. Where there are more than max * threads outputs, a thread has several tasks,
// so that other threads can take over the tasks of a delayed one.
CPM_INLINE int64_t outputs_per_task(int64_t outputs, int64_t threads, int64_t max) {
    const int64_t rounds = ceil_div(outputs, max * threads);
    return ceil_div(ceil_div(outputs, rounds * threads), 32) * 32;
}

constexpr int GEMV_MAX_ROWS = 8;  // linear_gemm is faster for more

void linear_gemv(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);
void linear_gemm(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);
void linear_transposed(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);

}  // namespace cpm::CPM_ISA
