// out = x W^T + bias for weights [O, K], as an embedding is stored. Lanes are inputs.
//
//   for 256 outputs: one task
//     one row: for 8 outputs, for K_BLOCK inputs    8 streams from memory; prefetch the next 8
//     for K_BLOCK = 1024 inputs
//       for 4 outputs                               more than TILE_ROWS / 2 rows: converted to
//                                                   float32 first, 16 kB: the L1 cache
//         for TILE_ROWS / 2 rows of x               TILE_ROWS / 2 x 4 sums: registers
//           for vector of inputs: one FMA a sum
//
// The order of summation is the same for any number of rows: lane l of a sum takes inputs l,
// l + LANES, l + 2 LANES ... of a block, one FMA after the other; the lanes are added in a fixed
// tree; the blocks are added in order to the bias (plus what `out` held).
//
// Reference in numpy: `linear` in src/cpm_lm/numpy_ops.py, tests/native/test_linear.py.
#include "kernels/linear.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t K_BLOCK = 1024;  // inputs; of four outputs 16 kB in float32
constexpr int TILE_OUTPUTS = 4;
constexpr int GEMV_OUTPUTS = 8;  // of a tile of one row
constexpr int MAX_TILE_ROWS = TILE_ROWS / 2;

// out[r][o] += x[r] . w[o] over `depth` inputs. PREFETCH: prefetch O * depth weights from `next`
// on.
template <class E, int R, int O, bool PREFETCH = false>
void dot_tile(const float* x, int64_t inputs, const typename E::type* w, int64_t stride,
              int64_t depth, float* out, int64_t outputs, const typename E::type* next = nullptr) {
    constexpr int64_t LINE = 64 / sizeof(typename E::type);
    f32s sums[R][O];
    for (int r = 0; r < R; ++r)
        for (int o = 0; o < O; ++o) sums[r][o] = zero();
    int64_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        if constexpr (PREFETCH)
            for (int64_t i = 0; i < O * LANES; i += LINE)
                __builtin_prefetch(next + O * k + i, 0, 2);
        f32s factor[R];
        for (int r = 0; r < R; ++r) factor[r] = load(x + r * inputs + k);
        for (int o = 0; o < O; ++o) {
            const f32s weight = E::load(w + o * stride + k);
            for (int r = 0; r < R; ++r) sums[r][o] = fma(factor[r], weight, sums[r][o]);
        }
    }
    if (k < depth)
        for (int o = 0; o < O; ++o) {
            const f32s weight = load_partial<E>(w + o * stride + k, depth - k);
            for (int r = 0; r < R; ++r) {
                const f32s factor = load_partial<F32>(x + r * inputs + k, depth - k);
                sums[r][o] = fma(factor, weight, sums[r][o]);
            }
        }
    for (int r = 0; r < R; ++r)
        for (int o = 0; o < O; ++o) out[r * outputs + o] += reduce_sum(sums[r][o]);
}

template <class E, int R, int O>
void dot_rows(const float* x, int64_t rows, int64_t inputs, const typename E::type* w,
              int64_t stride, int64_t depth, float* out, int64_t outputs) {
    for (; rows >= R; rows -= R, x += R * inputs, out += R * outputs)
        dot_tile<E, R, O>(x, inputs, w, stride, depth, out, outputs);
    if constexpr (R > 1)
        if (rows) dot_rows<E, R - 1, O>(x, rows, inputs, w, stride, depth, out, outputs);
}

template <class E, int O>
void gemm_outputs(const float* x, int64_t rows, const Weights& w, int64_t first, int64_t start,
                  int64_t depth, float* out, float* packed) {
    const auto* values = static_cast<const typename E::type*>(w.values) + first * w.inputs + start;
    x += start, out += first;
    if (rows <= MAX_TILE_ROWS)
        return dot_rows<E, MAX_TILE_ROWS, O>(x, rows, w.inputs, values, w.inputs, depth, out,
                                             w.outputs);
    for (int o = 0; o < O; ++o) {
        const auto* from = values + o * w.inputs;
        float* to = packed + o * K_BLOCK;
        int64_t k = 0;
        for (; k + LANES <= depth; k += LANES) store(to + k, E::load(from + k));
        store_partial(to + k, load_partial<E>(from + k, depth - k), depth - k);
    }
    dot_rows<F32, MAX_TILE_ROWS, O>(x, rows, w.inputs, packed, K_BLOCK, depth, out, w.outputs);
}

// One row with O outputs. The weights of the next O outputs follow in memory and are prefetched in
// that order.
template <class E, int O>
void gemv_outputs(const float* x, const Weights& w, int64_t first, float* out) {
    const auto* const values = static_cast<const typename E::type*>(w.values) + first * w.inputs;
    for (int64_t start = 0; start < w.inputs; start += K_BLOCK) {
        const int64_t depth = start + K_BLOCK < w.inputs ? K_BLOCK : w.inputs - start;
        dot_tile<E, 1, O, true>(x + start, w.inputs, values + start, w.inputs, depth, out + first,
                                w.outputs, values + O * (w.inputs + start));
    }
}

template <class E>
void multiply(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    constexpr int64_t MAX_TASK_OUTPUTS = 256;
    const int64_t width = outputs_per_task(w.outputs, pool.threads(), MAX_TASK_OUTPUTS);
    parallel_for(pool, ceil_div(w.outputs, width), TILE_OUTPUTS * K_BLOCK,
                 [&](int64_t task, float* packed) {
        const int64_t first = task * width;
        const int64_t last = first + width < w.outputs ? first + width : w.outputs;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t o = first; o < last; ++o) {
                float* const at = out + r * w.outputs + o;
                const float bias = w.bias ? w.bias[o] : 0.0f;
                *at = add ? *at + bias : bias;
            }
        int64_t done = first;
        if (rows == 1)
            for (; done + GEMV_OUTPUTS <= last; done += GEMV_OUTPUTS)
                gemv_outputs<E, GEMV_OUTPUTS>(x, w, done, out);
        for (int64_t start = 0; start < w.inputs; start += K_BLOCK) {
            const int64_t depth = start + K_BLOCK < w.inputs ? K_BLOCK : w.inputs - start;
            int64_t o = done;
            for (; o + TILE_OUTPUTS <= last; o += TILE_OUTPUTS)
                gemm_outputs<E, TILE_OUTPUTS>(x, rows, w, o, start, depth, out, packed);
            for (; o < last; ++o) gemm_outputs<E, 1>(x, rows, w, o, start, depth, out, packed);
        }
    });
}

}  // namespace

void linear_transposed(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out,
                       bool add) {
    switch (w.element) {
        case Element::f32: return multiply<F32>(pool, x, rows, w, out, add);
        case Element::f16: return multiply<F16>(pool, x, rows, w, out, add);
        case Element::bf16: return multiply<BF16>(pool, x, rows, w, out, add);
        case Element::q8:
        case Element::q4: return;  // linear_quantized.cpp
    }
}

}  // namespace cpm::CPM_ISA
