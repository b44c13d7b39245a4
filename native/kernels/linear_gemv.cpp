// out = x W + bias for weights [K, O] and R <= 8 rows: memory is the limit, so W is read once.
//
//   for stripe of outputs: one task            sums [R][stripe], at most 40 kB: the L1 cache
//     for K_BLOCK inputs
//       for DEPTH rows of W                    DEPTH sequential streams from memory
//         for cache line of the stripe         prefetch 1 kB ahead in each stream
//           for row of x: DEPTH FMAs to a vector of sums
//       out += sums
//
// A vector of sums is loaded and stored once for DEPTH FMAs: DEPTH is 8 for one row, 4 for more. A
// stripe is as long as the L1 cache allows, since long runs of memory are read faster.
//
// Reference in numpy: `linear` in src/cpm_lm/numpy_ops.py, tests/native/test_linear.py.
#include "kernels/linear_blocks.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t L1_FLOATS = 8 * 1024;    // sums of all rows: 32 kB, an L1 cache
constexpr int64_t MAX_STRIPE = 10 * 1024;  // of one row: a long stream gains more than L1 does

// sums[r] += x[r][k .. k+DEPTH] W[k .. k+DEPTH] along one vector of outputs.
template <class Load, int R, int DEPTH>
CPM_INLINE void accumulate_vector(const float (&factor)[R][DEPTH], Load weights, float* sums,
                                  int64_t sums_stride) {
    f32s weight[DEPTH];
    for (int d = 0; d < DEPTH; ++d) weight[d] = weights(d);
    for (int r = 0; r < R; ++r) {
        f32s total = load(sums + r * sums_stride);
        for (int d = 0; d < DEPTH; ++d) total = fma(splat(factor[r][d]), weight[d], total);
        store(sums + r * sums_stride, total);
    }
}

template <class E, int R, int DEPTH>
CPM_INLINE void accumulate_rows(const float* x, int64_t inputs, const typename E::type* w,
                                int64_t stride, int64_t count, float* sums, int64_t sums_stride) {
    constexpr int64_t LINE = 64 / sizeof(typename E::type);
    constexpr int64_t PREFETCH_DISTANCE = 1024 / sizeof(typename E::type);
    float factor[R][DEPTH];
    for (int r = 0; r < R; ++r)
        for (int d = 0; d < DEPTH; ++d) factor[r][d] = x[r * inputs + d];
    int64_t o = 0;
    for (; o + LINE <= count; o += LINE) {
        // At the end of the stripe: the lines where the next DEPTH rows of W begin.
        const auto* const prefetch = o + PREFETCH_DISTANCE < count
                                         ? w + o + PREFETCH_DISTANCE
                                         : w + DEPTH * stride + o + PREFETCH_DISTANCE - count;
        for (int d = 0; d < DEPTH; ++d) __builtin_prefetch(prefetch + d * stride);
        for (int64_t v = o; v < o + LINE; v += LANES)
            accumulate_vector(factor, [&](int d) { return E::load(w + d * stride + v); }, sums + v,
                              sums_stride);
    }
    for (; o < count; o += LANES) {
        const int64_t n = count - o < LANES ? count - o : LANES;
        accumulate_vector(factor, [&](int d) { return load_partial<E>(w + d * stride + o, n); },
                          sums + o, sums_stride);
    }
}

template <class E, int R>
void gemv_stripe(const float* x, const Weights& w, int64_t first, int64_t count, float* out,
                 bool add, float* sums, int64_t stride) {
    constexpr int DEPTH = R == 1 ? 8 : 4;
    const auto* values = static_cast<const typename E::type*>(w.values) + first;
    for (int r = 0; r < R; ++r) init_output(w, out + r * w.outputs + first, first, count, add);
    for (int64_t start = 0; start < w.inputs; start += K_BLOCK) {
        const int64_t stop = start + K_BLOCK < w.inputs ? start + K_BLOCK : w.inputs;
        std::memset(sums, 0, sizeof(float) * static_cast<size_t>(R * stride));
        int64_t k = start;
        for (; k + DEPTH <= stop; k += DEPTH)
            accumulate_rows<E, R, DEPTH>(x + k, w.inputs, values + k * w.outputs, w.outputs, count,
                                         sums, stride);
        for (; k < stop; ++k)
            accumulate_rows<E, R, 1>(x + k, w.inputs, values + k * w.outputs, w.outputs, count,
                                     sums, stride);
        for (int r = 0; r < R; ++r) {
            float* row = out + r * w.outputs + first;
            for (int64_t o = 0; o < count; ++o) row[o] += sums[r * stride + o];
        }
    }
}

template <class E, int R>
void gemv(Pool& pool, const float* x, const Weights& w, float* out, bool add) {
    const int64_t width =
        outputs_per_task(w.outputs, pool.threads(), R == 1 ? MAX_STRIPE : L1_FLOATS / R);
    parallel_for(pool, ceil_div(w.outputs, width), R * width, [&](int64_t task, float* sums) {
        const int64_t first = task * width;
        const int64_t count = first + width < w.outputs ? width : w.outputs - first;
        gemv_stripe<E, R>(x, w, first, count, out, add, sums, width);
    });
}

template <class E, int R>
void dispatch(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    if (rows == R) return gemv<E, R>(pool, x, w, out, add);
    if constexpr (R < GEMV_MAX_ROWS) dispatch<E, R + 1>(pool, x, rows, w, out, add);
}

}  // namespace

void linear_gemv(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    switch (w.element) {
        case Element::f32: return dispatch<F32, 1>(pool, x, rows, w, out, add);
        case Element::f16: return dispatch<F16, 1>(pool, x, rows, w, out, add);
        case Element::bf16: return dispatch<BF16, 1>(pool, x, rows, w, out, add);
        case Element::q8:
        case Element::q4: return;  // linear_quantized.cpp
    }
}

}  // namespace cpm::CPM_ISA
