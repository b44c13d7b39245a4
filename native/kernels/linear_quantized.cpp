// out = x W^T + bias for weights [O, K] in 8 or 4 bits, with a float16 scale for every group.
//
// Each row of x is rounded to 16 bits first, by a unit of its own. The products of a group are
// summed exactly, as int32: at most 64 of 128 * 32639 in 8 bits, 2.7e8. The sum is brought to
// float32 and taken, times the group's scale, to the output's sum by one FMA; groups come in order.
// That sum times the row's unit is added to the bias (plus what `out` held). None of this depends
// on how rows and outputs are cut into tiles, and it is the same on every processor with FMA.
//
//   few    fewer rows than lanes: lanes are several outputs of some rows
//   many   lanes are rows; parts of x and W stay in the caches
#include "kernels/linear_amx.hpp"
#include "kernels/quantized_epilogue.hpp"
#include "kernels/quantized_formats.hpp"
#include "kernels/quantized_rows.hpp"
#include "kernels/quantized_tile.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t OUTPUTS = 64;          // of a task: their weights stay in the second-level cache
constexpr int64_t BLOCK = 8192 / LANES;  // inputs: of LANES rows they fill half a first-level cache

// The outputs of a task, and room for what is prepared for them.
struct Part {
    const uint8_t* weights;
    int64_t stride, first, count;
    const uint16_t* scales;  // [count][groups]
    float* room;             // for scales, widened: [OUTPUTS][step]
    int64_t step;            // groups, filled up to whole vectors
};

// Widen the scales of LANES groups, or of `left`, as the lanes of O outputs with R rows need them.
template <int R, int O>
CPM_INLINE void spread(const uint16_t* scales, int64_t groups, int64_t left, float* to) {
    f32s lanes[LANES];
    CPM_UNROLL for (int l = 0; l < LANES; ++l) {
        const uint16_t* const from = scales + l / R * groups;
        lanes[l] = l / R >= O      ? zero()
                   : left >= LANES ? F16::load(from)
                                   : load_first<F16>(from, left);
    }
    transpose<1>(lanes);
    CPM_UNROLL for (int l = 0; l < LANES; ++l)
        store(to + l * LANES, lanes[l]);
}

template <class Q, int R, int O>
CPM_INLINE void few_outputs(const Rows<Q>& x, Band band, const Part& part, int64_t o,
                            const Target& target) {
    const uint16_t* const scales = part.scales + o * x.groups;
    const uint8_t* const weights = part.weights + o * part.stride;
    float room[LANES * LANES], sums[LANES];
    f32s total = zero();
    for (int64_t g = 0; g < x.groups; g += LANES) {
        const int64_t left = x.groups - g, unit = g / Q::GROUPS;
        for (int64_t i = 0; i < O * LANES; i += 32)  // of the next outputs
            __builtin_prefetch(scales + O * (x.groups + g) + i, 0, 2);
        spread<R, O>(scales + g, x.groups, left, room);
        const Strip<Q> strip{weights + unit * Q::WEIGHT_BYTES,
                             part.stride,
                             x.at(band, unit),
                             x.zeros + (band.first / LANES * x.groups + g) * LANES,
                             room,
                             left < LANES ? left : LANES,
                             left,
                             weights + O * part.stride};
        total = tile<Q, R, O>(strip, total);
    }
    store(sums, total);
    for (int64_t r = 0; r < band.used; ++r)
        for (int64_t i = 0; i < O; ++i)
            target.put(band.first + r, part.first + o + i, sums[i * R + r]);
}

template <class Q, int R>
void few(const Rows<Q>& x, Band band, const Part& part, const Target& target) {
    constexpr int O = LANES / R;
    int64_t o = 0;
    for (; o + O <= part.count; o += O) few_outputs<Q, R, O>(x, band, part, o, target);
    for (; o < part.count; ++o) few_outputs<Q, R, 1>(x, band, part, o, target);
}

template <class Q>
void many(const Rows<Q>& x, Band band, const Part& part, const Target& target) {
    f32s sums[OUTPUTS];
    for (int64_t o = 0; o < part.count; ++o) {
        sums[o] = zero();
        widen_scales(part.scales + o * x.groups, x.groups, part.room + o * part.step);
    }
    for (int64_t g = 0; g < x.groups; g += BLOCK / Q::GROUP) {
        const int64_t left = x.groups - g, most = BLOCK / Q::GROUP, unit = g / Q::GROUPS;
        Strip<Q> strip{part.weights + unit * Q::WEIGHT_BYTES,
                       part.stride,
                       x.at(band, unit),
                       x.zeros + (band.first / LANES * x.groups + g) * LANES,
                       part.room + g,
                       left < most ? left : most,
                       left,
                       nullptr};
        for (int64_t o = 0; o < part.count; ++o) {
            sums[o] = tile<Q, LANES, 1>(strip, sums[o]);
            strip.weights += part.stride, strip.scales += part.step;
        }
    }
    for (int64_t o = 0; o < part.count; o += LANES)
        target.put_block(band.first, band.used, part.first + o,
                         part.count - o < LANES ? part.count - o : LANES, sums + o);
}

template <class Q, int R = LANES>
CPM_INLINE void choose(const Rows<Q>& x, Band band, const Part& part, const Target& target) {
    if constexpr (R == LANES) {
        if (band.rows == R) return many<Q>(x, band, part, target);
    } else {
        if (band.rows == R) return few<Q, R>(x, band, part, target);
    }
    if constexpr (R > 1) choose<Q, R / 2>(x, band, part, target);
}

template <class Q>
void products(Pool& pool, const Rows<Q>& x, int64_t rows, const Target& target) {
    const Weights& w = target.w;
    const auto* const values = static_cast<const uint8_t*>(w.values);
    const int64_t stride = x.groups * Q::WEIGHT_BYTES / Q::GROUPS;
    const int64_t step = ceiling(x.groups, LANES) * LANES;
    const int64_t width = split(w.outputs, pool.threads(), OUTPUTS);
    parallel(pool, ceiling(w.outputs, width), OUTPUTS * step, [&](int64_t task, float* scratch) {
        const int64_t first = task * width, left = w.outputs - first;
        const Part part{values + first * stride,     stride,  first, left < width ? left : width,
                        w.scales + first * x.groups, scratch, step};
        for (int64_t row = 0; row < rows; row += LANES)
            choose<Q>(x, band_of(row, rows), part, target);
    });
}

template <class Q>
void both(Pool& pool, const float* x, int64_t rows, const Weights& w, void* room, float* out,
          bool add) {
    const Rows<Q> narrowed(rows, w, room);
    narrow_all<Q>(pool, x, rows, w.inputs, narrowed);
    products<Q>(pool, narrowed, rows, Target{w, narrowed.scales, out, add});
}

#if defined(__AMX_INT8__)
constexpr int64_t TILES_FROM = 5;  // rows; with fewer the memory is the limit either way
#endif

}  // namespace

int64_t quantised_room(int64_t rows, const Weights& w) {
#if defined(__AMX_INT8__)
    if (rows >= TILES_FROM) return tiles_room(rows, w);
#endif
    return w.element == Element::q8 ? Rows<Q8>::bytes(rows, w) : Rows<Q4>::bytes(rows, w);
}

void linear_quantised(Pool& pool, const float* x, int64_t rows, const Weights& w, void* room,
                      float* out, bool add) {
#if defined(__AMX_INT8__)
    if (rows >= TILES_FROM) return linear_tiles(pool, x, rows, w, room, out, add);
#endif
    w.element == Element::q8 ? both<Q8>(pool, x, rows, w, room, out, add)
                             : both<Q4>(pool, x, rows, w, room, out, add);
}

}  // namespace cpm::CPM_ISA
