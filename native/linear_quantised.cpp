// out = x W^T + bias for weights [O, K] in 8 or 4 bits, with a float16 scale for every group.
//
// Each row of x is brought to 16 bits first, by a scale of its own. Lane l of an output then sums
// the products of a group's inputs 2l, 2l+1 mod 16 as int32, exactly: at most 8 products of at most
// 128 * 32767 in 8 bits, 3.4e7, and 4 of 8 * 32767 in 4 bits. One FMA a group takes them, times the
// group's scale, to the lane's float32 sum; groups come in order. The eight lanes are added in a
// fixed tree, multiplied by the row's scale, and added to the bias (plus what `out` held).
// None of this depends on how rows and outputs are cut into tiles.
#include "linear.hpp"
#include "simd_integer.hpp"

namespace cpm::CPM_ISA {
namespace {

struct Q8 {
    static constexpr int64_t GROUP = GROUP_Q8, BYTES = GROUP;
    static constexpr int VECTORS = 4;
    CPM_INLINE void unpack(const uint8_t* from, i16x16* to) {
        for (int v = 0; v < VECTORS; ++v)
            to[v] = widen(reinterpret_cast<const int8_t*>(from) + v * PAIRED);
    }
};

struct Q4 {
    static constexpr int64_t GROUP = GROUP_Q4, BYTES = GROUP / 2;
    static constexpr int VECTORS = 2;
    CPM_INLINE void unpack(const uint8_t* from, i16x16* to) {
        const i16x16 both = widen(from);
        to[0] = (both & 15) - 8;
        to[1] = (both >> 4) - 8;
    }
};

// ---- rows of x in 16 bits ----

constexpr int MOST_ROWS = 8;      // of a tile
constexpr int64_t BLOCK = 1024;   // inputs: of so many rows they fill half a first-level cache
constexpr int64_t OUTPUTS = 64;   // whose weights stay in the second-level cache
constexpr int64_t MOST = 256;     // outputs of a task

// Rows are kept by bands of MOST_ROWS, the last with what is left: [groups][rows of it][GROUP].
struct Band {
    int64_t first, rows;
};

CPM_INLINE Band band_of(int64_t row, int64_t rows) {
    const int64_t first = row / MOST_ROWS * MOST_ROWS;
    return {first, rows - first < MOST_ROWS ? rows - first : MOST_ROWS};
}

// Return what 32767 in the row stands for; NaN if something in it is not finite.
float scale_of(const float* x, int64_t count) {
    u32x8 most = {};
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t n = count - i;
        const u32x8 bits = (u32x8)(n < LANES ? load_first<F32>(x + i, n) : load(x + i));
        const u32x8 magnitude = bits & 0x7fffffffu;  // in the order of the numbers, NaN on top
        most = magnitude > most ? magnitude : most;
    }
    uint32_t top = 0;
    for (int i = 0; i < LANES; ++i) top = most[i] > top ? most[i] : top;
    if (top >= 0x7f800000u) return __builtin_nanf("");
    float largest;
    std::memcpy(&largest, &top, sizeof largest);
    return largest < 0x1p-100f ? 0.0f : largest / 32767.0f;  // its inverse must be finite
}

template <class Q>
void narrow(const float* x, int64_t count, float scale, int16_t* to, int64_t step) {
    const f32x8 factor = splat(scale > 0.0f ? 1.0f / scale : 0.0f);
    for (int64_t start = 0; start < count; start += Q::GROUP, to += step)
        for (int64_t i = 0; i < Q::GROUP; i += LANES) {
            const int64_t n = count - start - i;
            const float* const from = x + start + i;
            const f32x8 some = n >= LANES ? load(from) : load_first<F32>(from, n);
            const i32x8 whole = nearest(some * factor);
            const i16x8 kept = __builtin_convertvector(whole, i16x8);
            std::memcpy(to + i, &kept, sizeof kept);
        }
}

template <class Q>
void narrow_all(Pool& pool, const float* x, int64_t rows, int64_t inputs, int64_t padded,
                const Narrowed& to) {
    constexpr int64_t TASK = 16384;  // numbers that are worth a thread's while
    const int64_t together = TASK / inputs + 1;
    parallel(pool, ceiling(rows, together), 0, [&](int64_t task, float*) {
        for (int64_t r = task * together; r < rows && r < (task + 1) * together; ++r) {
            const Band band = band_of(r, rows);
            const float* const row = x + r * inputs;
            to.scales[r] = scale_of(row, inputs);
            int16_t* const start = to.values + band.first * padded + (r - band.first) * Q::GROUP;
            narrow<Q>(row, inputs, to.scales[r], start, band.rows * Q::GROUP);
        }
    });
}

// ---- products ----

// A part of the weights: some outputs, some groups.
struct Part {
    const uint8_t* values;
    int64_t stride;
    const float* scales;  // widened
    int64_t scales_stride;
};

// sums[o][r] += the products of `groups` groups of R rows with O outputs.
template <class Q, int R, int O>
CPM_INLINE void tile(const int16_t* x, Part w, int64_t groups, f32x8 (*sums)[MOST_ROWS]) {
    f32x8 total[O][R];
    CPM_UNROLL for (int o = 0; o < O; ++o)
        CPM_UNROLL for (int r = 0; r < R; ++r) total[o][r] = sums[o][r];
    for (int64_t g = 0; g < groups; ++g, x += R * Q::GROUP, w.values += Q::BYTES, ++w.scales)
        CPM_UNROLL for (int o = 0; o < O; ++o) {
            i16x16 weights[Q::VECTORS];
            Q::unpack(w.values + o * w.stride, weights);
            // The next tile's weights: its rows are too short for the processor to foresee them.
            __builtin_prefetch(w.values + (O + o) * w.stride);
            const f32x8 scale = splat(w.scales[o * w.scales_stride]);
            CPM_UNROLL for (int r = 0; r < R; ++r) {
                i32x8 sum = pairs(weights[0], load(x + r * Q::GROUP));
                CPM_UNROLL for (int v = 1; v < Q::VECTORS; ++v)
                    sum += pairs(weights[v], load(x + r * Q::GROUP + v * PAIRED));
                total[o][r] = fma(__builtin_convertvector(sum, f32x8), scale, total[o][r]);
            }
        }
    CPM_UNROLL for (int o = 0; o < O; ++o)
        CPM_UNROLL for (int r = 0; r < R; ++r) sums[o][r] = total[o][r];
}

// The tiles of one band along `outputs` outputs: as wide as the registers allow.
template <class Q, int R>
void tiles(const int16_t* x, Part w, int64_t outputs, int64_t groups, f32x8 (*sums)[MOST_ROWS]) {
    constexpr int O = R == 1 ? 8 : R == 2 ? 4 : R <= 4 ? 2 : 1;
    const auto at = [&](int64_t o) {
        return Part{w.values + o * w.stride, w.stride, w.scales + o * w.scales_stride,
                    w.scales_stride};
    };
    int64_t o = 0;
    for (; o + O <= outputs; o += O) tile<Q, R, O>(x, at(o), groups, sums + o);
    for (; o < outputs; ++o) tile<Q, R, 1>(x, at(o), groups, sums + o);
}

template <class Q, int R = MOST_ROWS>
void choose(int64_t rows, const int16_t* x, Part w, int64_t outputs, int64_t groups,
            f32x8 (*sums)[MOST_ROWS]) {
    if (rows == R) return tiles<Q, R>(x, w, outputs, groups, sums);
    if constexpr (R > 1) choose<Q, R - 1>(rows, x, w, outputs, groups, sums);
}

void widen_scales(const uint16_t* from, int64_t count, float* to) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store(to + i, F16::load(from + i));
    store_first(to + i, load_first<F16>(from + i, count - i), count - i);
}

void finish(const Weights& w, const f32x8 (*sums)[MOST_ROWS], Band band, const float* row_scales,
            int64_t first, int64_t count, float* out, bool add) {
    for (int64_t r = 0; r < band.rows; ++r)
        for (int64_t o = 0; o < count; ++o) {
            float* const at = out + (band.first + r) * w.outputs + first + o;
            const float bias = w.bias ? w.bias[first + o] : 0.0f;
            const float product = sum(sums[o][r]) * row_scales[band.first + r];
            *at = (add ? *at + bias : bias) + product;
        }
}

template <class Q>
void products(Pool& pool, const Narrowed& x, int64_t rows, const Weights& w, float* out, bool add) {
    const auto* const values = static_cast<const uint8_t*>(w.values);
    const int64_t groups = w.padded / Q::GROUP, stride = groups * Q::BYTES;
    const int64_t width = split(w.outputs, pool.threads(), MOST);
    const int64_t sums_floats = OUTPUTS * MOST_ROWS * LANES;
    // Few rows follow the weights to their end in memory; many come back to them from a cache.
    const int64_t block = rows < MOST_ROWS ? groups : BLOCK / Q::GROUP;
    parallel(pool, ceiling(w.outputs, width), sums_floats + OUTPUTS * groups,
             [&](int64_t task, float* scratch) {
        auto* const sums = reinterpret_cast<f32x8(*)[MOST_ROWS]>(scratch);
        float* const scales = scratch + sums_floats;
        const int64_t stop = task * width + width < w.outputs ? task * width + width : w.outputs;
        for (int64_t first = task * width; first < stop; first += OUTPUTS) {
            const int64_t count = stop - first < OUTPUTS ? stop - first : OUTPUTS;
            widen_scales(w.scales + first * groups, count * groups, scales);
            for (int64_t row = 0; row < rows; row += MOST_ROWS) {
                const Band band = band_of(row, rows);
                const int16_t* const from = x.values + row * w.padded;
                for (int64_t o = 0; o < count; ++o)
                    for (int64_t r = 0; r < band.rows; ++r) sums[o][r] = zero();
                for (int64_t g = 0; g < groups; g += block) {
                    const Part part{values + first * stride + g * Q::BYTES, stride, scales + g,
                                    groups};
                    choose<Q>(band.rows, from + g * band.rows * Q::GROUP, part, count,
                              groups - g < block ? groups - g : block, sums);
                }
                finish(w, sums, band, x.scales, first, count, out, add);
            }
        }
    });
}

template <class Q>
void both(Pool& pool, const float* x, int64_t rows, const Weights& w, const Narrowed& room,
          float* out, bool add) {
    narrow_all<Q>(pool, x, rows, w.inputs, w.padded, room);
    products<Q>(pool, room, rows, w, out, add);
}

}  // namespace

void linear_quantised(Pool& pool, const float* x, int64_t rows, const Weights& w,
                      const Narrowed& room, float* out, bool add) {
    w.element == Element::q8 ? both<Q8>(pool, x, rows, w, room, out, add)
                             : both<Q4>(pool, x, rows, w, room, out, add);
}

}  // namespace cpm::CPM_ISA
