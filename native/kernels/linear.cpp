// out = x W + bias for float weights: the choice of a kernel.
//
//   W [O, K] (transposed)             linear_transposed.cpp
//   W [K, O], at most 8 rows          linear_gemv.cpp: limited by memory, so W is read once
//   W [K, O], more rows               linear_gemm.cpp: limited by arithmetic, so W is packed
//
// Both kernels for [K, O] give the same bits: see linear_blocks.hpp. The reference in numpy is
// `linear` in src/cpm_lm/numpy_ops.py; tests/native/test_linear.py compares with float64.
#include "kernels/linear.hpp"

namespace cpm::CPM_ISA {

void linear(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    const auto multiply = w.transposed                         ? linear_transposed
                          : 1 <= rows && rows <= GEMV_MAX_ROWS ? linear_gemv
                                                               : linear_gemm;
    multiply(pool, x, rows, w, out, add);
}

}  // namespace cpm::CPM_ISA
