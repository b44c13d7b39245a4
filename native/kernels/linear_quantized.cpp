// out = x W^T + bias for weights [O, K] in 8 or 4 bits, with a float16 scale for every group.
//
//   quantize x to 16 bits, in bands of LANES rows                  quantized_rows.hpp
//   for 64 outputs: one task                     their weights, 160 kB of 2560 inputs in q8: L2
//     for band of R rows
//       R < LANES: for LANES / R outputs         memory is the limit: weights are read in order
//                    for block of inputs         a tile, quantized_tile.hpp
//       R = LANES: for K_BLOCK inputs            rows of the band, 16 kB: half of L1
//                    for output: for block of inputs
//
// The order of summation does not depend on tiles, and it is the same on every processor with FMA.
// The products of a group are summed exactly, in int32: at most 64 * 128 * 32639 = 2.7e8 in q8. The
// sum is converted to float32 and added, times the scale of the group, to the output's sum by one
// FMA; groups come in order. That sum times the scale of the row is added to the bias (plus what
// `out` held).
//
// Reference in numpy: `rounded` and `expected` in tests/native/test_quantized.py.
#include "kernels/linear_amx.hpp"
#include "kernels/quantized_epilogue.hpp"
#include "kernels/quantized_formats.hpp"
#include "kernels/quantized_rows.hpp"
#include "kernels/quantized_tile.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t TASK_OUTPUTS = 64;       // of a task; their weights stay in the L2 cache
constexpr int64_t K_BLOCK = 8192 / LANES;  // inputs; of LANES rows 16 kB

// The outputs of a task, and a workspace for their scales.
struct OutputBlock {
    const uint8_t* weights;
    int64_t stride, first, count;
    const uint16_t* scales;  // [count][groups]
    float* scale_workspace;  // float32 [TASK_OUTPUTS][scale_stride]
    int64_t scale_stride;    // the number of groups, rounded up to whole vectors
};

// Convert the scales of LANES groups, or of `left`, to float32, and repeat each for R rows:
// to[group][o * R + r] = scale of output o.
template <int R, int O>
CPM_INLINE void broadcast_scales(const uint16_t* scales, int64_t groups, int64_t left, float* to) {
    f32s lanes[LANES];
    CPM_UNROLL for (int l = 0; l < LANES; ++l) {
        const uint16_t* const from = scales + l / R * groups;
        lanes[l] = l / R >= O      ? zero()
                   : left >= LANES ? F16::load(from)
                                   : load_partial<F16>(from, left);
    }
    transpose<1>(lanes);
    CPM_UNROLL for (int l = 0; l < LANES; ++l)
        store(to + l * LANES, lanes[l]);
}

// O outputs from output o on with the R rows of a band, over all inputs.
template <class Q, int R, int O>
CPM_INLINE void gemv_tile(const QuantizedRows<Q>& x, Band band, const OutputBlock& block, int64_t o,
                          const Epilogue& epilogue) {
    const uint16_t* const scales = block.scales + o * x.groups;
    const uint8_t* const weights = block.weights + o * block.stride;
    float lane_scales[LANES * LANES], sums[LANES];
    f32s total = zero();
    for (int64_t g = 0; g < x.groups; g += LANES) {
        const int64_t left = x.groups - g, k = g / Q::GROUPS;
        for (int64_t i = 0; i < O * LANES; i += 32)  // scales of the next outputs
            __builtin_prefetch(scales + O * (x.groups + g) + i, 0, 2);
        broadcast_scales<R, O>(scales + g, x.groups, left, lane_scales);
        const TileArgs<Q> args{weights + k * Q::WEIGHT_BYTES,
                               block.stride,
                               x.at(band, k),
                               x.zero_offsets + (band.first / LANES * x.groups + g) * LANES,
                               lane_scales,
                               left < LANES ? left : LANES,
                               left,
                               weights + O * block.stride};
        total = accumulate_tile<Q, R, O>(args, total);
    }
    store(sums, total);
    for (int64_t r = 0; r < band.used; ++r)
        for (int64_t i = 0; i < O; ++i)
            epilogue.store_one(band.first + r, block.first + o + i, sums[i * R + r]);
}

// All outputs of a task with a band of R < LANES rows.
template <class Q, int R>
void gemv_task(const QuantizedRows<Q>& x, Band band, const OutputBlock& block,
               const Epilogue& epilogue) {
    constexpr int O = LANES / R;
    int64_t o = 0;
    for (; o + O <= block.count; o += O) gemv_tile<Q, R, O>(x, band, block, o, epilogue);
    for (; o < block.count; ++o) gemv_tile<Q, R, 1>(x, band, block, o, epilogue);
}

// All outputs of a task with a band of LANES rows.
template <class Q>
void gemm_task(const QuantizedRows<Q>& x, Band band, const OutputBlock& block,
               const Epilogue& epilogue) {
    f32s sums[TASK_OUTPUTS];
    for (int64_t o = 0; o < block.count; ++o) {
        sums[o] = zero();
        convert_scales(block.scales + o * x.groups, x.groups,
                       block.scale_workspace + o * block.scale_stride);
    }
    for (int64_t g = 0; g < x.groups; g += K_BLOCK / Q::GROUP) {
        const int64_t left = x.groups - g, max = K_BLOCK / Q::GROUP, k = g / Q::GROUPS;
        TileArgs<Q> args{block.weights + k * Q::WEIGHT_BYTES,
                         block.stride,
                         x.at(band, k),
                         x.zero_offsets + (band.first / LANES * x.groups + g) * LANES,
                         block.scale_workspace + g,
                         left < max ? left : max,
                         left,
                         nullptr};
        for (int64_t o = 0; o < block.count; ++o) {
            sums[o] = accumulate_tile<Q, LANES, 1>(args, sums[o]);
            args.weights += block.stride, args.scales += block.scale_stride;
        }
    }
    for (int64_t o = 0; o < block.count; o += LANES)
        epilogue.store_block(band.first, band.used, block.first + o,
                             block.count - o < LANES ? block.count - o : LANES, sums + o);
}

template <class Q, int R = LANES>
CPM_INLINE void dispatch(const QuantizedRows<Q>& x, Band band, const OutputBlock& block,
                         const Epilogue& epilogue) {
    if constexpr (R == LANES) {
        if (band.rows == R) return gemm_task<Q>(x, band, block, epilogue);
    } else {
        if (band.rows == R) return gemv_task<Q, R>(x, band, block, epilogue);
    }
    if constexpr (R > 1) dispatch<Q, R / 2>(x, band, block, epilogue);
}

template <class Q>
void multiply_rows(Pool& pool, const QuantizedRows<Q>& x, int64_t rows, const Epilogue& epilogue) {
    const Weights& w = epilogue.w;
    const auto* const values = static_cast<const uint8_t*>(w.values);
    const int64_t stride = x.groups * Q::WEIGHT_BYTES / Q::GROUPS;
    const int64_t scale_stride = ceil_div(x.groups, LANES) * LANES;
    const int64_t width = outputs_per_task(w.outputs, pool.threads(), TASK_OUTPUTS);
    parallel_for(pool, ceil_div(w.outputs, width), TASK_OUTPUTS * scale_stride,
                 [&](int64_t task, float* scratch) {
        const int64_t first = task * width, left = w.outputs - first;
        const OutputBlock block{
            values + first * stride,     stride,  first,       left < width ? left : width,
            w.scales + first * x.groups, scratch, scale_stride};
        for (int64_t row = 0; row < rows; row += LANES)
            dispatch<Q>(x, band_of(row, rows), block, epilogue);
    });
}

template <class Q>
void quantize_and_multiply(Pool& pool, const float* x, int64_t rows, const Weights& w,
                           void* workspace, float* out, bool add) {
    const QuantizedRows<Q> quantized(rows, w, workspace);
    quantize_rows<Q>(pool, x, rows, w.inputs, quantized);
    multiply_rows<Q>(pool, quantized, rows, Epilogue{w, quantized.scales, out, add});
}

#if defined(__AMX_INT8__)
constexpr int64_t AMX_MIN_ROWS = 5;  // with fewer rows memory is the limit, with tiles or without
#endif

}  // namespace

int64_t quantized_workspace(int64_t rows, const Weights& w) {
#if defined(__AMX_INT8__)
    if (rows >= AMX_MIN_ROWS) return amx_workspace(rows, w);
#endif
    return w.element == Element::q8 ? QuantizedRows<Q8>::bytes(rows, w)
                                    : QuantizedRows<Q4>::bytes(rows, w);
}

void linear_quantized(Pool& pool, const float* x, int64_t rows, const Weights& w, void* workspace,
                      float* out, bool add) {
#if defined(__AMX_INT8__)
    if (rows >= AMX_MIN_ROWS) return linear_amx(pool, x, rows, w, workspace, out, add);
#endif
    w.element == Element::q8 ? quantize_and_multiply<Q8>(pool, x, rows, w, workspace, out, add)
                             : quantize_and_multiply<Q4>(pool, x, rows, w, workspace, out, add);
}

}  // namespace cpm::CPM_ISA
