// The same products as in linear_quantised.cpp, for many rows, by the tiles of AMX.
//
// A tile of weights is a group of 16 outputs, as it lies in memory (4 bits are widened to bytes
// first). A tile of numbers holds the same inputs of 16 rows, four at a time, once the high and once
// the low bytes. Their products are the exact sums of a group for 16 x 16 results: from there on
// everything is as it is without tiles, bit by bit.
#include "quantised.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

static_assert(LANES == 16);

constexpr int64_t SIDE = 16;           // rows, and outputs, of a tile of results
constexpr int64_t TILE_BYTES = 1024;
constexpr int64_t INPUTS = 512;        // of a block: 16 rows' numbers are 16 kB
constexpr int64_t OUTPUTS = 256;       // of a task: a block of their weights is 128 kB
constexpr int64_t TOGETHER = 8;        // bands of 16 rows that read a block of weights in turn

// What ldtilecfg reads: Intel's manual, volume 1, 18.
struct alignas(64) Configuration {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles 0 to 3 are results, 4 weights, 5 and 6 numbers of a group of so many inputs.
void configure(int64_t group) {
    Configuration c;
    for (int i = 0; i < 7; ++i) c.rows[i] = SIDE, c.row_bytes[i] = 64;
    c.row_bytes[4] = static_cast<uint16_t>(group);
    c.rows[5] = c.rows[6] = static_cast<uint8_t>(group / 4);
    asm volatile("" ::"r"(&c) : "memory");  // GCC believes that only the first bytes are read
    _tile_loadconfig(&c);
}

struct Rows {
    Rows(int64_t rows, const Weights& w, void* room)
        : group(group_of(w.element)),
          groups(w.padded / group),
          bands(ceiling(rows, SIDE)),
          values(static_cast<uint8_t*>(room)),
          scales(reinterpret_cast<float*>(values + bands * groups * 2 * TILE_BYTES)) {}
    uint8_t* at(int64_t band, int64_t g) const {
        return values + (band * groups + g) * 2 * TILE_BYTES;
    }
    const int64_t group, groups, bands;
    uint8_t* const values;  // [bands][groups][high, low][TILE_BYTES]
    float* const scales;
};

// Write a row's numbers into its column of the band's tiles.
void narrow(const float* x, int64_t inputs, int64_t row, int64_t rows, const Rows& to) {
    const float unit = unit_of(x, inputs);
    if (row < rows) to.scales[row] = unit;
    for (int64_t g = 0; g < to.groups; ++g) {
        int16_t numbers[GROUP_Q8];
        uint8_t high[GROUP_Q8], low[GROUP_Q8];
        const int64_t left = inputs - g * to.group;
        round_all(x + g * to.group, left, to.group, unit, numbers);
        for (int64_t i = 0; i < to.group; i += 16) split_bytes(numbers + i, high + i, low + i);
        uint8_t* const tile = to.at(row / SIDE, g) + row % SIDE * 4;
        for (int64_t i = 0; i < to.group; i += 4) {
            std::memcpy(tile + i * SIDE, high + i, 4);
            std::memcpy(tile + TILE_BYTES + i * SIDE, low + i, 4);
        }
    }
}

void narrow_all(Pool& pool, const float* x, int64_t rows, int64_t inputs, const Rows& to) {
    parallel(pool, ceiling(to.bands * SIDE, 4), 0, [&](int64_t task, float*) {
        for (int64_t r = 4 * task; r < 4 * task + 4; ++r)
            narrow(x + (r < rows ? r : 0) * inputs, r < rows ? inputs : 0, r, rows, to);
    });
}

// Groups of 16 outputs' weights, as tiles are loaded: bytes from output to output, group to group.
struct Strip {
    const int8_t* weights;
    int64_t output, group;
    const float* scales;  // [16][step]
    int64_t step;
};

// sums[o] += results of output o with 16 rows, times their scale.
CPM_INLINE void take(const int32_t* results, const float* scales, int64_t step, f32s* sums) {
    CPM_UNROLL for (int o = 0; o < SIDE; ++o) {
        const i32s high = load(results + o * SIDE), low = load(results + (SIDE + o) * SIDE);
        sums[o] = fma(__builtin_convertvector((high << 8) + low, f32s), splat(scales[o * step]), sums[o]);
    }
}

// Put the sums of the next group into tiles `high` and `low`, and from there into `results`. Two
// pairs of tiles take turns. A macro, since a tile's number must stand in the text.
#define CPM_TILES(high, low, results)                   \
    _tile_loadd(4, weights, s.output);                  \
    _tile_loadd(5, numbers, 64);                        \
    _tile_loadd(6, numbers + TILE_BYTES, 64);           \
    _tile_zero(high);                                   \
    _tile_dpbssd(high, 4, 5);                           \
    _tile_zero(low);                                    \
    _tile_dpbssd(low, 4, 6);                            \
    _tile_stored(high, results, 64);                    \
    _tile_stored(low, results + SIDE * SIDE, 64);       \
    weights += s.group, numbers += 2 * TILE_BYTES

// totals[16] += the products of `groups` groups of 16 outputs with 16 rows.
template <bool AHEAD>
void multiply(const Strip& s, const uint8_t* numbers, int64_t groups, float* totals) {
    alignas(64) int32_t even[2 * SIDE * SIDE], odd[2 * SIDE * SIDE];
    const int8_t* weights = s.weights;
    f32s sums[SIDE];
    CPM_UNROLL for (int o = 0; o < SIDE; ++o) sums[o] = load(totals + o * SIDE);
    int64_t g = 0;
    for (; g + 2 <= groups; g += 2) {
        if constexpr (AHEAD)  // the next block of inputs comes from memory
            for (int64_t o = 0; o < SIDE; ++o) {
                __builtin_prefetch(weights + o * s.output + INPUTS, 0, 2);
                __builtin_prefetch(weights + o * s.output + INPUTS + 64, 0, 2);
            }
        CPM_TILES(0, 1, even);
        CPM_TILES(2, 3, odd);
        take(even, s.scales + g, s.step, sums);
        take(odd, s.scales + g + 1, s.step, sums);
    }
    if (g < groups) {
        CPM_TILES(0, 1, even);
        take(even, s.scales + g, s.step, sums);
    }
    CPM_UNROLL for (int o = 0; o < SIDE; ++o) store(totals + o * SIDE, sums[o]);
}

// The outputs of a task, and room for a block of their inputs.
struct Task {
    const Weights& w;
    int64_t first, count;
    float* totals;   // [TOGETHER][OUTPUTS][16]
    float* scales;   // [OUTPUTS][step], of a block
    int8_t* widened; // [OUTPUTS][INPUTS]: 4 bits, and outputs that do not fill a tile
    int64_t strips() const { return ceiling(count, SIDE); }
    int64_t step(const Rows& x) const { return INPUTS / x.group; }
};

void widen_q4(const uint8_t* from, int64_t groups, int8_t* to) {
    typedef uint8_t u8x16 __attribute__((vector_size(16)));
    for (int64_t g = 0; g < groups; ++g, from += 16, to += 32) {
        u8x16 codes;  // in the open: of a loop over bytes GCC 12 makes a minute's work, and poor code
        std::memcpy(&codes, from, sizeof codes);
        const u8x16 low = (codes & 15) - 8, high = (codes >> 4) - 8;
        std::memcpy(to, &low, sizeof low);
        std::memcpy(to + 16, &high, sizeof high);
    }
}

// Bring groups g .. g + groups of a strip into the form that tiles are loaded from.
Strip prepare(const Task& t, const Rows& x, int64_t s, int64_t g, int64_t groups) {
    const bool q8 = t.w.element == Element::q8;
    const auto* const values = static_cast<const uint8_t*>(t.w.values);
    const int64_t bytes = q8 ? t.w.padded : t.w.padded / 2, step = t.step(x);
    const int64_t first = t.first + s * SIDE, left = t.count - s * SIDE;
    float* const scales = t.scales + s * SIDE * step;
    for (int64_t o = 0; o < SIDE; ++o) {
        if (o < left)
            widen_scales(t.w.scales + (first + o) * x.groups + g, groups, scales + o * step);
        else
            std::memset(scales + o * step, 0, sizeof(float) * static_cast<size_t>(step));
    }
    const uint8_t* const from = values + first * bytes + g * (q8 ? x.group : x.group / 2);
    if (q8 && left >= SIDE)
        return {reinterpret_cast<const int8_t*>(from), bytes, x.group, scales, step};
    int8_t* const to = t.widened + s * SIDE * INPUTS;
    for (int64_t o = 0; o < SIDE; ++o) {
        if (o >= left)
            std::memset(to + o * INPUTS, 0, INPUTS);
        else if (q8)
            std::memcpy(to + o * INPUTS, from + o * bytes, static_cast<size_t>(groups * x.group));
        else
            widen_q4(from + o * bytes, groups, to + o * INPUTS);
    }
    return {to, INPUTS, x.group, scales, step};
}

void block(const Task& t, const Rows& x, int64_t band, int64_t bands, int64_t g, int64_t groups) {
    Strip strips[OUTPUTS / SIDE];
    for (int64_t s = 0; s < t.strips(); ++s) strips[s] = prepare(t, x, s, g, groups);
    asm volatile("" ::: "memory");  // tiles are loaded behind the compiler's back
    for (int64_t b = 0; b < bands; ++b)
        for (int64_t s = 0; s < t.strips(); ++s) {
            float* const totals = t.totals + (b * OUTPUTS + s * SIDE) * SIDE;
            const uint8_t* const numbers = x.at(band + b, g);
            if (b == 0 && t.w.element == Element::q8)
                multiply<true>(strips[s], numbers, groups, totals);
            else
                multiply<false>(strips[s], numbers, groups, totals);
        }
}

void compute(const Task& t, const Rows& x, int64_t rows, const Target& target) {
    for (int64_t band = 0; band < x.bands; band += TOGETHER) {
        const int64_t bands = x.bands - band < TOGETHER ? x.bands - band : TOGETHER;
        std::memset(t.totals, 0, sizeof(float) * static_cast<size_t>(bands * OUTPUTS * SIDE));
        const int64_t step = t.step(x);
        for (int64_t g = 0; g < x.groups; g += step)
            block(t, x, band, bands, g, x.groups - g < step ? x.groups - g : step);
        for (int64_t b = 0; b < bands; ++b)
            for (int64_t s = 0; s < t.strips(); ++s) {
                const int64_t row = (band + b) * SIDE, left = t.count - s * SIDE;
                f32s sums[SIDE];
                for (int64_t o = 0; o < SIDE; ++o)
                    sums[o] = load(t.totals + (b * OUTPUTS + s * SIDE + o) * SIDE);
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
    const Rows narrowed(rows, w, room);
    narrow_all(pool, x, rows, w.inputs, narrowed);
    const Target target{w, narrowed.scales, out, add};
    const int64_t width = split(w.outputs, pool.threads(), OUTPUTS);
    const int64_t bands = narrowed.bands < TOGETHER ? narrowed.bands : TOGETHER;
    const int64_t totals = bands * OUTPUTS * SIDE, scales = OUTPUTS * (INPUTS / narrowed.group);
    parallel(pool, ceiling(w.outputs, width), totals + scales + OUTPUTS * INPUTS / 4,
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
