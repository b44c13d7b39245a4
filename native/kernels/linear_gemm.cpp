// out = x W + bias for weights [K, O] and many rows: arithmetic is the limit, so W is packed.
//
//   for 256 outputs: one task
//     for K_BLOCK = 128 inputs
//       pack W [128][256] to float32 panels [128][PANEL_WIDTH]   128 kB: the L2 cache
//       for panel                                                8 or 16 kB: the L1 cache
//         for TILE_ROWS rows of x                                TILE_ROWS x 2 sums: registers
//           for input: 2 loads, TILE_ROWS broadcasts, 2 TILE_ROWS FMAs
//
// TILE_ROWS x 2 sums are as many as the registers hold beside two weights and a factor.
//
// Reference in numpy: `linear` in src/cpm_lm/numpy_ops.py, tests/native/test_linear.py.
#include "kernels/linear_blocks.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t PANEL_WIDTH = 2 * LANES;          // outputs of a tile in registers
constexpr int64_t TASK_PANELS = 256 / PANEL_WIDTH;  // 128 kB of packed weights

// Convert `count` outputs of W for `depth` inputs to float32, into panels [K_BLOCK][PANEL_WIDTH]
// with zeros beyond the last output. W is read row by row, since each row is on another page.
template <class E>
void pack_panels(const typename E::type* w, int64_t stride, int64_t depth, int64_t count,
                 float* to) {
    for (int64_t k = 0; k < depth; ++k, w += stride, to += PANEL_WIDTH) {
        int64_t o = 0;
        float* panel = to;
        for (; o + PANEL_WIDTH <= count; o += PANEL_WIDTH, panel += K_BLOCK * PANEL_WIDTH) {
            store(panel, E::load(w + o));
            store(panel + LANES, E::load(w + o + LANES));
        }
        if (const int64_t left = count - o; left > 0) {
            const int64_t low = left < LANES ? left : LANES;
            store(panel, load_partial<E>(w + o, low));
            store(panel + LANES, load_partial<E>(w + o + low, left - low));
        }
    }
}

// out[R][PANEL_WIDTH] += x[R][depth] panel[depth][PANEL_WIDTH]; `count` of these outputs exist.
template <int R>
void gemm_tile(const float* x, int64_t inputs, int64_t depth, const float* panel, float* out,
               int64_t outputs, int64_t count) {
    f32s sums[R][2];
    for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = zero();
    for (int64_t k = 0; k < depth; ++k, panel += PANEL_WIDTH) {
        const f32s left = load(panel), right = load(panel + LANES);
        for (int r = 0; r < R; ++r) {
            const f32s factor = splat(x[r * inputs + k]);
            sums[r][0] = fma(factor, left, sums[r][0]);
            sums[r][1] = fma(factor, right, sums[r][1]);
        }
    }
    for (int r = 0; r < R; ++r, out += outputs)
        for (int half = 0; half < 2; ++half) {
            const int64_t left = count - half * LANES;
            float* const at = out + half * LANES;
            if (left >= LANES)
                store(at, load(at) + sums[r][half]);
            else if (left > 0)
                store_partial(at, load_partial<F32>(at, left) + sums[r][half], left);
        }
}

template <int R>
void gemm_panel(const float* x, int64_t rows, int64_t inputs, int64_t depth, const float* panel,
                float* out, int64_t outputs, int64_t count) {
    for (; rows >= R; rows -= R, x += R * inputs, out += R * outputs)
        gemm_tile<R>(x, inputs, depth, panel, out, outputs, count);
    if constexpr (R > 1)
        if (rows) gemm_panel<R - 1>(x, rows, inputs, depth, panel, out, outputs, count);
}

template <class E>
void gemm(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    const int64_t width = outputs_per_task(w.outputs, pool.threads(), TASK_PANELS * PANEL_WIDTH);
    const auto* values = static_cast<const typename E::type*>(w.values);
    parallel_for(pool, ceil_div(w.outputs, width), K_BLOCK * TASK_PANELS * PANEL_WIDTH,
                 [&](int64_t task, float* packed) {
        const int64_t first = task * width;
        const int64_t last = first + width < w.outputs ? first + width : w.outputs;
        for (int64_t r = 0; r < rows; ++r)
            init_output(w, out + r * w.outputs + first, first, last - first, add);
        for (int64_t start = 0; start < w.inputs; start += K_BLOCK) {
            const int64_t depth = start + K_BLOCK < w.inputs ? K_BLOCK : w.inputs - start;
            pack_panels<E>(values + start * w.outputs + first, w.outputs, depth, last - first,
                           packed);
            for (int64_t o = first; o < last; o += PANEL_WIDTH)
                gemm_panel<TILE_ROWS>(x + start, rows, w.inputs, depth,
                                      packed + (o - first) * K_BLOCK, out + o, w.outputs, last - o);
        }
    });
}

}  // namespace

void linear_gemm(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    switch (w.element) {
        case Element::f32: return gemm<F32>(pool, x, rows, w, out, add);
        case Element::f16: return gemm<F16>(pool, x, rows, w, out, add);
        case Element::bf16: return gemm<BF16>(pool, x, rows, w, out, add);
        case Element::q8:
        case Element::q4: return;  // linear_quantized.cpp
    }
}

}  // namespace cpm::CPM_ISA
