// The same products as in linear_quantized.cpp, for many rows, by the tiles of AMX.
//
// A tile of weights is a group of 16 outputs, as it lies in memory (4 bits are widened to bytes
// first). A tile of numbers holds the same inputs of 16 rows, four at a time, once the high and
// once the low bytes. Their products are the exact sums of a group for 16 x 16 results: from there
// on everything is as it is without tiles, bit by bit.
#include "kernels/linear_amx.hpp"

#include "kernels/amx_tile.hpp"
#include "kernels/quantized_epilogue.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

// The outputs of a task, and room for a block of their inputs.
struct Task {
    const Weights& w;
    int64_t first, count;
    float* totals;    // [TOGETHER][outputs][16]
    float* scales;    // [outputs][step], widened
    int8_t* widened;  // [outputs][inputs]: 4 bits, and outputs that do not fill a tile
    int64_t strips() const { return ceiling(count, SIDE); }
    int64_t step(const AmxRows& x) const { return ceiling(x.groups, LANES) * LANES; }
};

// Widen the scales of a task, and ask for those of the next.
void widen_task(const Task& t, const AmxRows& x) {
    const int64_t step = t.step(x), filled = t.strips() * SIDE;
    for (int64_t o = 0; o < t.count; ++o) {
        const uint16_t* const from = t.w.scales + (t.first + o) * x.groups;
        for (int64_t i = 0; i < x.groups; i += 32)
            __builtin_prefetch(from + t.count * x.groups + i, 0, 2);
        widen_scales(from, x.groups, t.scales + o * step);
    }
    std::memset(t.scales + t.count * step, 0,
                sizeof(float) * static_cast<size_t>((filled - t.count) * step));
}

void widen_q4(const uint8_t* from, int64_t groups, int8_t* to) {
    typedef uint8_t u8x16 __attribute__((vector_size(16)));
    for (int64_t g = 0; g < groups; ++g, from += 16, to += 32) {
        // A vector type: GCC 12 takes a minute for a loop over bytes, and makes slow code of it.
        u8x16 codes;
        std::memcpy(&codes, from, sizeof codes);
        const u8x16 low = (codes & 15) - 8, high = (codes >> 4) - 8;
        std::memcpy(to, &low, sizeof low);
        std::memcpy(to + 16, &high, sizeof high);
    }
}

// Bring groups g .. g + groups of a strip into the form that tiles are loaded from.
AmxStrip prepare(const Task& t, const AmxRows& x, int64_t s, int64_t g, int64_t groups) {
    const bool q8 = t.w.element == Element::q8;
    const auto* const values = static_cast<const uint8_t*>(t.w.values);
    const int64_t bytes = q8 ? t.w.padded : t.w.padded / 2;
    const int64_t first = t.first + s * SIDE, left = t.count - s * SIDE, step = t.step(x);
    const float* const scales = t.scales + s * SIDE * step + g;
    const uint8_t* const from = values + first * bytes + g * (q8 ? x.group : x.group / 2);
    const bool last = g + groups == x.groups;  // of a row: then come the outputs of another task
    const uint8_t* const next =
        last ? values + (first + t.count) * bytes : from + groups * (q8 ? x.group : x.group / 2);
    const int64_t apart = groups == x.groups ? 64 : bytes, width = x.block.inputs;
    const int shared = q8 ? 0 : 2;
    if (q8 && left >= SIDE)
        return {reinterpret_cast<const int8_t*>(from),
                bytes,
                x.group,
                scales,
                step,
                next,
                apart,
                shared};
    int8_t* const to = t.widened + s * SIDE * width;
    for (int64_t o = 0; o < SIDE; ++o) {
        if (o >= left)
            std::memset(to + o * width, 0, static_cast<size_t>(width));
        else if (q8)
            std::memcpy(to + o * width, from + o * bytes, static_cast<size_t>(groups * x.group));
        else
            widen_q4(from + o * bytes, groups, to + o * width);
    }
    return {to, width, x.group, scales, step, next, apart, shared};
}

void block(const Task& t, const AmxRows& x, int64_t band, int64_t bands, int64_t g,
           int64_t groups) {
    AmxStrip strips[MOST_BLOCK.outputs / SIDE];
    for (int64_t s = 0; s < t.strips(); ++s) strips[s] = prepare(t, x, s, g, groups);
    asm volatile("" ::: "memory");  // tiles are loaded behind the compiler's back
    for (int64_t b = 0; b < bands; ++b)
        for (int64_t s = 0; s < t.strips(); ++s) {
            float* const totals = t.totals + (b * x.block.outputs + s * SIDE) * SIDE;
            const uint8_t* const numbers = x.at(band + b, g);
            b == 0 ? multiply<true>(strips[s], numbers, groups, totals)
                   : multiply<false>(strips[s], numbers, groups, totals);
        }
}

void compute(const Task& t, const AmxRows& x, int64_t rows, const Target& target) {
    widen_task(t, x);
    for (int64_t band = 0; band < x.bands; band += TOGETHER) {
        const int64_t bands = x.bands - band < TOGETHER ? x.bands - band : TOGETHER;
        const int64_t totals = bands * x.block.outputs * SIDE, groups = x.block.inputs / x.group;
        std::memset(t.totals, 0, sizeof(float) * static_cast<size_t>(totals));
        for (int64_t g = 0; g < x.groups; g += groups)
            block(t, x, band, bands, g, x.groups - g < groups ? x.groups - g : groups);
        for (int64_t b = 0; b < bands; ++b)
            for (int64_t s = 0; s < t.strips(); ++s) {
                const int64_t row = (band + b) * SIDE, left = t.count - s * SIDE;
                f32s sums[SIDE];
                for (int64_t o = 0; o < SIDE; ++o)
                    sums[o] = load(t.totals + (b * x.block.outputs + s * SIDE + o) * SIDE);
                target.put_block(row, rows - row < SIDE ? rows - row : SIDE, t.first + s * SIDE,
                                 left < SIDE ? left : SIDE, sums);
            }
    }
}

}  // namespace

int64_t tiles_room(int64_t rows, const Weights& w) {
    const int64_t groups = w.padded / group_of(w.element);
    return ceiling(rows, SIDE) * (groups * 2 * TILE_BYTES + SIDE * 4);
}

void linear_tiles(Pool& pool, const float* x, int64_t rows, const Weights& w, void* room,
                  float* out, bool add) {
    const AmxRows narrowed(rows, w, room);
    narrow_all(pool, x, rows, w.inputs, narrowed);
    const Target target{w, narrowed.scales, out, add};
    const int64_t width = split(w.outputs, pool.threads(), narrowed.block.outputs);
    const int64_t bands = narrowed.bands < TOGETHER ? narrowed.bands : TOGETHER;
    const auto [inputs, outputs] = narrowed.block;
    const int64_t totals = bands * outputs * SIDE;
    const int64_t scales = outputs * ceiling(narrowed.groups, LANES) * LANES;
    parallel(pool, ceiling(w.outputs, width), totals + scales + outputs * inputs / 4,
             [&](int64_t task, float* scratch) {
        const int64_t first = task * width, left = w.outputs - first;
        configure(narrowed.group);
        compute({w, first, left < width ? left : width, scratch, scratch + totals,
                 reinterpret_cast<int8_t*>(scratch + totals + scales)},
                narrowed, rows, target);
        _tile_release();
    });
}

}  // namespace cpm::CPM_ISA

#endif
