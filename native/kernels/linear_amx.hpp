// Products with quantised weights by tiles of AMX.
#pragma once

#include "kernels/kernels.hpp"

namespace cpm::CPM_ISA {

// The products by tiles of AMX, for many rows; only where there are such instructions.
int64_t amx_workspace(int64_t rows, const Weights& w);
void linear_amx(Pool&, const float* x, int64_t rows, const Weights&, void* workspace, float* out,
                bool add);

}  // namespace cpm::CPM_ISA
