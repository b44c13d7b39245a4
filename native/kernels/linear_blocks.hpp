// The order of summation for weights [K, O]: the same in linear_gemv.cpp and linear_gemm.cpp.
//
// An output starts as its bias, plus what `out` held if `add`. To that are added, in order, the
// sums of blocks of K_BLOCK inputs. Each of these sums starts from zero and is one FMA after the
// other.
#pragma once

#include "kernels/linear.hpp"

namespace cpm::CPM_ISA {

constexpr int64_t K_BLOCK = 128;  // inputs; of 256 outputs 128 kB in float32, for the L2 cache

// Write the bias to `out`, or add it. The sums of blocks are added later, by the same thread.
static void init_output(const Weights& w, float* out, int64_t first, int64_t count, bool add) {
    for (int64_t o = 0; o < count; ++o) {
        const float bias = w.bias ? w.bias[first + o] : 0.0f;
        out[o] = add ? out[o] + bias : bias;
    }
}

}  // namespace cpm::CPM_ISA
