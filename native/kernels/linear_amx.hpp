// Products with quantised weights by tiles of AMX.
#pragma once

#include "kernels/kernels.hpp"

namespace cpm::CPM_ISA {

// The products by tiles of AMX, for many rows; only where there are such instructions.
int64_t tiles_room(int64_t rows, const Weights& w);
void linear_tiles(Pool&, const float* x, int64_t rows, const Weights&, void* room, float* out,
                  bool add);

}  // namespace cpm::CPM_ISA
