// The epilogue of products with quantized weights: scale, bias and addition.
//
// out = sum * scale of the row + bias, or out += that if `add`.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/simd_shuffle.hpp"

namespace cpm::CPM_ISA {

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
    // LANES outputs of one row.
    void store_vector(int64_t row, int64_t output, f32s sums) const {
        float* const at = out + row * w.outputs + output;
        const f32s bias = w.bias ? load(w.bias + output) : zero();
        const f32s product = sums * splat(row_scales[row]);
        store(at, (add ? load(at) + bias : bias) + product);
    }
    // `count` outputs of `rows` rows; sums[o] holds output o, its lanes are rows.
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
