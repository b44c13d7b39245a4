// What both products with weights [K, O] share: the block of inputs, and an output's first value.
#pragma once

#include "kernels/linear.hpp"

namespace cpm::CPM_ISA {

constexpr int64_t K_BLOCK = 128;

// Start `out` with what is added last: nothing else touches these numbers in between.
static void init_output(const Weights& w, float* out, int64_t first, int64_t count, bool add) {
    for (int64_t o = 0; o < count; ++o) {
        const float bias = w.bias ? w.bias[first + o] : 0.0f;
        out[o] = add ? out[o] + bias : bias;
    }
}

}  // namespace cpm::CPM_ISA
