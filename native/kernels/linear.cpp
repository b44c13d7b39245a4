// out = x W + bias for weights [K, O], as Hugging Face's Conv1D keeps them.
//
// Lanes are outputs. Whatever the rows, slices and threads, an output is bias (plus what `out`
// held), and to that in order the sums of blocks of BLOCK inputs, each summed from zero by
// one FMA after the other. Both ways below compute exactly this:
//   stream  few rows: W is read once, several of its rows at a time, along stripes of outputs
//   blocks  many rows: a part of W is widened to float32 once and used by tiles in registers
#include "kernels/linear.hpp"

namespace cpm::CPM_ISA {

void linear(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    const auto multiply = w.transposed                         ? linear_transposed
                          : 1 <= rows && rows <= GEMV_MAX_ROWS ? linear_gemv
                                                               : linear_gemm;
    multiply(pool, x, rows, w, out, add);
}

}  // namespace cpm::CPM_ISA
