// Products with quantized weights by the tiles of AMX; compiled only for that instruction set.
#pragma once

#include "kernels/kernels.hpp"

namespace cpm::CPM_ISA {

// Return the bytes of workspace that linear_amx needs.
int64_t amx_workspace(int64_t rows, const Weights& w);
void linear_amx(Pool&, const float* x, int64_t rows, const Weights&, void* workspace, float* out,
                bool add);

}  // namespace cpm::CPM_ISA
