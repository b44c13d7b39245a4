// out = x W + bias for weights [K, O] and few rows.
#include "kernels/linear_blocks.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t SUMS = 8 * 1024;      // of the rows' stripes: what a first-level cache holds
constexpr int64_t LONGEST = 10 * 1024;  // stripe of one row: long runs of memory matter more

// sums[r] += x[r][k .. k+DEPTH] W[k .. k+DEPTH] along one vector of outputs.
template <class Load, int R, int DEPTH>
CPM_INLINE void step(const float (&factor)[R][DEPTH], Load weights, float* sums, int64_t stripe) {
    f32s weight[DEPTH];
    for (int d = 0; d < DEPTH; ++d) weight[d] = weights(d);
    for (int r = 0; r < R; ++r) {
        f32s total = load(sums + r * stripe);
        for (int d = 0; d < DEPTH; ++d) total = fma(splat(factor[r][d]), weight[d], total);
        store(sums + r * stripe, total);
    }
}

template <class E, int R, int DEPTH>
CPM_INLINE void pass(const float* x, int64_t inputs, const typename E::type* w, int64_t stride,
                     int64_t count, float* sums, int64_t stripe) {
    constexpr int64_t LINE = 64 / sizeof(typename E::type);
    constexpr int64_t AHEAD = 1024 / sizeof(typename E::type);
    float factor[R][DEPTH];
    for (int r = 0; r < R; ++r)
        for (int d = 0; d < DEPTH; ++d) factor[r][d] = x[r * inputs + d];
    int64_t o = 0;
    for (; o + LINE <= count; o += LINE) {
        // Lines a little further on, at the end those where the next pass begins.
        const auto* const ahead =
            o + AHEAD < count ? w + o + AHEAD : w + DEPTH * stride + o + AHEAD - count;
        for (int d = 0; d < DEPTH; ++d) __builtin_prefetch(ahead + d * stride);
        for (int64_t v = o; v < o + LINE; v += LANES)
            step(factor, [&](int d) { return E::load(w + d * stride + v); }, sums + v, stripe);
    }
    for (; o < count; o += LANES) {
        const int64_t n = count - o < LANES ? count - o : LANES;
        step(factor, [&](int d) { return load_first<E>(w + d * stride + o, n); }, sums + o, stripe);
    }
}

template <class E, int R>
void stripe(const float* x, const Weights& w, int64_t first, int64_t count, float* out, bool add,
            float* sums, int64_t stride) {
    constexpr int DEPTH = R == 1 ? 8 : 4;
    const auto* values = static_cast<const typename E::type*>(w.values) + first;
    for (int r = 0; r < R; ++r) begin(w, out + r * w.outputs + first, first, count, add);
    for (int64_t start = 0; start < w.inputs; start += BLOCK) {
        const int64_t stop = start + BLOCK < w.inputs ? start + BLOCK : w.inputs;
        std::memset(sums, 0, sizeof(float) * static_cast<size_t>(R * stride));
        int64_t k = start;
        for (; k + DEPTH <= stop; k += DEPTH)
            pass<E, R, DEPTH>(x + k, w.inputs, values + k * w.outputs, w.outputs, count, sums,
                              stride);
        for (; k < stop; ++k)
            pass<E, R, 1>(x + k, w.inputs, values + k * w.outputs, w.outputs, count, sums, stride);
        for (int r = 0; r < R; ++r) {
            float* row = out + r * w.outputs + first;
            for (int64_t o = 0; o < count; ++o) row[o] += sums[r * stride + o];
        }
    }
}

template <class E, int R>
void stream(Pool& pool, const float* x, const Weights& w, float* out, bool add) {
    const int64_t width = split(w.outputs, pool.threads(), R == 1 ? LONGEST : SUMS / R);
    parallel(pool, ceiling(w.outputs, width), R * width, [&](int64_t task, float* sums) {
        const int64_t first = task * width;
        const int64_t count = first + width < w.outputs ? width : w.outputs - first;
        stripe<E, R>(x, w, first, count, out, add, sums, width);
    });
}

template <class E, int R>
void choose(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    if (rows == R) return stream<E, R>(pool, x, w, out, add);
    if constexpr (R < STREAM_ROWS) choose<E, R + 1>(pool, x, rows, w, out, add);
}

}  // namespace

void linear_gemv(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    switch (w.element) {
        case Element::f32: return choose<F32, 1>(pool, x, rows, w, out, add);
        case Element::f16: return choose<F16, 1>(pool, x, rows, w, out, add);
        case Element::bf16: return choose<BF16, 1>(pool, x, rows, w, out, add);
        case Element::q8:
        case Element::q4: return;  // linear_quantised
    }
}

}  // namespace cpm::CPM_ISA
