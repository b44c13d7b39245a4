// Where products with quantised weights go.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/simd_shuffle.hpp"

namespace cpm::CPM_ISA {

// Where products go: each times its row's unit, to the bias and, if `add`, what is there.
struct Epilogue {
    const Weights& w;
    const float* row_scales;
    float* out;
    bool add;

    void store_one(int64_t row, int64_t output, float sum) const {
        float* const at = out + row * w.outputs + output;
        const float bias = w.bias ? w.bias[output] : 0.0f;
        const float product = sum * row_scales[row];
        *at = (add ? *at + bias : bias) + product;
    }
    // Put a vector of outputs.
    void store_vector(int64_t row, int64_t output, f32s sums) const {
        float* const at = out + row * w.outputs + output;
        const f32s bias = w.bias ? load(w.bias + output) : zero();
        const f32s product = sums * splat(row_scales[row]);
        store(at, (add ? load(at) + bias : bias) + product);
    }
    // Put `count` outputs of `rows` rows from vectors [output] whose lanes are rows.
    void store_block(int64_t row, int64_t rows, int64_t output, int64_t count,
                     const f32s* sums) const {
        f32s transposed[LANES];
        for (int64_t o = 0; o < LANES; ++o) transposed[o] = o < count ? sums[o] : zero();
        transpose<1>(transposed);
        for (int64_t r = 0; r < rows; ++r) {
            if (count == LANES)
                store_vector(row + r, output, transposed[r]);
            else
                for (int64_t o = 0; o < count; ++o)
                    store_one(row + r, output + o, transposed[r][o]);
        }
    }
};

}  // namespace cpm::CPM_ISA
