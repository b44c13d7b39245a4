// out = x W + bias for weights [K, O], as Hugging Face's Conv1D keeps them.
//
// Lanes are outputs. Whatever the rows, slices and threads, an output is bias (plus what `out`
// held), and to that in order the sums of blocks of BLOCK inputs, each summed from zero by
// one FMA after the other. Both ways below compute exactly this:
//   stream  few rows: W is read once, several of its rows at a time, along stripes of outputs
//   blocks  many rows: a part of W is widened to float32 once and used by tiles in registers
#include "kernels/linear.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t BLOCK = 128;

// Start `out` with what is added last: nothing else touches these numbers in between.
void begin(const Weights& w, float* out, int64_t first, int64_t count, bool add) {
    for (int64_t o = 0; o < count; ++o) {
        const float bias = w.bias ? w.bias[first + o] : 0.0f;
        out[o] = add ? out[o] + bias : bias;
    }
}

// ---- few rows ----

constexpr int STREAM_ROWS = 8;          // more are computed faster in blocks
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

// ---- many rows ----

constexpr int64_t PANEL = 2 * LANES;     // outputs of a tile in registers
constexpr int64_t PANELS = 256 / PANEL;  // of one task: 128 kB of widened weights

// Widen `count` outputs of W for `depth` inputs into panels of [BLOCK][PANEL], with zeros beyond
// the last output. Row by row, as they lie in memory: each is on another page.
template <class E>
void pack(const typename E::type* w, int64_t stride, int64_t depth, int64_t count, float* to) {
    for (int64_t k = 0; k < depth; ++k, w += stride, to += PANEL) {
        int64_t o = 0;
        float* panel = to;
        for (; o + PANEL <= count; o += PANEL, panel += BLOCK * PANEL) {
            store(panel, E::load(w + o));
            store(panel + LANES, E::load(w + o + LANES));
        }
        if (const int64_t rest = count - o; rest > 0) {
            const int64_t low = rest < LANES ? rest : LANES;
            store(panel, load_first<E>(w + o, low));
            store(panel + LANES, load_first<E>(w + o + low, rest - low));
        }
    }
}

// out[R][PANEL] += x[R][depth] panel[depth][PANEL], of which `count` outputs exist.
template <int R>
void tile(const float* x, int64_t inputs, int64_t depth, const float* panel, float* out,
          int64_t outputs, int64_t count) {
    f32s sums[R][2];
    for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = zero();
    for (int64_t k = 0; k < depth; ++k, panel += PANEL) {
        const f32s left = load(panel), right = load(panel + LANES);
        for (int r = 0; r < R; ++r) {
            const f32s factor = splat(x[r * inputs + k]);
            sums[r][0] = fma(factor, left, sums[r][0]);
            sums[r][1] = fma(factor, right, sums[r][1]);
        }
    }
    for (int r = 0; r < R; ++r, out += outputs)
        for (int half = 0; half < 2; ++half) {
            const int64_t room = count - half * LANES;
            float* const at = out + half * LANES;
            if (room >= LANES)
                store(at, load(at) + sums[r][half]);
            else if (room > 0)
                store_first(at, load_first<F32>(at, room) + sums[r][half], room);
        }
}

template <int R>
void tiles(const float* x, int64_t rows, int64_t inputs, int64_t depth, const float* panel,
           float* out, int64_t outputs, int64_t count) {
    for (; rows >= R; rows -= R, x += R * inputs, out += R * outputs)
        tile<R>(x, inputs, depth, panel, out, outputs, count);
    if constexpr (R > 1)
        if (rows) tiles<R - 1>(x, rows, inputs, depth, panel, out, outputs, count);
}

template <class E>
void blocks(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    const int64_t width = split(w.outputs, pool.threads(), PANELS * PANEL);
    const auto* values = static_cast<const typename E::type*>(w.values);
    parallel(pool, ceiling(w.outputs, width), BLOCK * PANELS * PANEL,
             [&](int64_t task, float* packed) {
        const int64_t first = task * width;
        const int64_t last = first + width < w.outputs ? first + width : w.outputs;
        for (int64_t r = 0; r < rows; ++r)
            begin(w, out + r * w.outputs + first, first, last - first, add);
        for (int64_t start = 0; start < w.inputs; start += BLOCK) {
            const int64_t depth = start + BLOCK < w.inputs ? BLOCK : w.inputs - start;
            pack<E>(values + start * w.outputs + first, w.outputs, depth, last - first, packed);
            for (int64_t o = first; o < last; o += PANEL)
                tiles<TILE_ROWS>(x + start, rows, w.inputs, depth, packed + (o - first) * BLOCK,
                                 out + o, w.outputs, last - o);
        }
    });
}

template <class E, int R>
void choose(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    if (rows == R) return stream<E, R>(pool, x, w, out, add);
    if constexpr (R < STREAM_ROWS)
        choose<E, R + 1>(pool, x, rows, w, out, add);
    else
        blocks<E>(pool, x, rows, w, out, add);
}

}  // namespace

void linear(Pool& pool, const float* x, int64_t rows, const Weights& w, float* out, bool add) {
    if (w.transposed) return linear_transposed(pool, x, rows, w, out, add);
    switch (w.element) {
        case Element::f32: return choose<F32, 1>(pool, x, rows, w, out, add);
        case Element::f16: return choose<F16, 1>(pool, x, rows, w, out, add);
        case Element::bf16: return choose<BF16, 1>(pool, x, rows, w, out, add);
        case Element::q8:
        case Element::q4: return;  // linear_quantised
    }
}

}  // namespace cpm::CPM_ISA
