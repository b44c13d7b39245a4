// The same products as in linear_quantised.cpp, for many rows, by the tiles of AMX.
//
// A tile of weights is a group of 16 outputs, as it lies in memory (4 bits are widened to bytes
// first). A tile of numbers holds the same inputs of 16 rows, four at a time, once the high and
// once the low bytes. Their products are the exact sums of a group for 16 x 16 results: from there
// on everything is as it is without tiles, bit by bit.
#include "kernels/quantised.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

static_assert(LANES == 16);

constexpr int64_t SIDE = 16;  // rows, and outputs, of a tile of results
constexpr int64_t TILE_BYTES = 1024;
constexpr int64_t TOGETHER = 8;  // bands of 16 rows that read a block of weights in turn

// A block's weights and numbers are to stay in the second-level cache, and if there are many bands,
// a band's numbers in the first. If there are few, memory is the limit, and its order matters.
struct Block {
    int64_t inputs, outputs;
};
constexpr Block MOST{2560, 256};
constexpr Block block_for(int64_t bands) { return bands <= 2 ? Block{2560, 64} : Block{512, 256}; }

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
          block(block_for(bands)),
          values(static_cast<uint8_t*>(room)),
          scales(reinterpret_cast<float*>(values + bands * groups * 2 * TILE_BYTES)) {}
    uint8_t* at(int64_t band, int64_t g) const {
        return values + (band * groups + g) * 2 * TILE_BYTES;
    }
    const int64_t group, groups, bands;
    const Block block;
    uint8_t* const values;  // [bands][groups][high, low][TILE_BYTES]
    float* const scales;
};

// Write inputs start .. stop of a band into its tiles. A tile's row is four inputs of all 16 rows
// of x, so the bytes of 64 inputs are transposed by fours.
void narrow(const float* x, int64_t inputs, int64_t start, int64_t stop, int64_t band, int64_t rows,
            const Rows& to) {
    float units[SIDE];
    for (int64_t r = 0; r < SIDE; ++r) {
        const int64_t row = band * SIDE + r;
        units[r] = row < rows ? unit_of(x + row * inputs, inputs) : 0.0f;
        if (row < rows && start == 0) to.scales[row] = units[r];
    }
    for (int64_t i = start; i < stop; i += 64) {
        i32s high[SIDE], low[SIDE];
        for (int64_t r = 0; r < SIDE; ++r) {
            const int64_t row = band * SIDE + r;
            int16_t numbers[64];
            uint8_t bytes[2][64];
            round_all(x + (row < rows ? row * inputs + i : 0), row < rows ? inputs - i : 0, 64,
                      units[r], numbers);
            for (int64_t k = 0; k < 64; k += 16)
                split_bytes(numbers + k, bytes[0] + k, bytes[1] + k);
            std::memcpy(high + r, bytes[0], 64);
            std::memcpy(low + r, bytes[1], 64);
        }
        transpose<1>(high);
        transpose<1>(low);
        for (int64_t j = 0; j < SIDE; ++j) {
            const int64_t g = (i + 4 * j) / to.group;
            if (g == to.groups) break;
            uint8_t* const at = to.at(band, g) + (i + 4 * j) % to.group * SIDE;
            std::memcpy(at, high + j, 64);
            std::memcpy(at + TILE_BYTES, low + j, 64);
        }
    }
}

void narrow_all(Pool& pool, const float* x, int64_t rows, int64_t inputs, const Rows& to) {
    constexpr int64_t PART = 1024;
    const int64_t padded = to.groups * to.group, parts = ceiling(padded, PART);
    parallel(pool, to.bands * parts, 0, [&](int64_t task, float*) {
        const int64_t start = task % parts * PART, left = padded - start;
        narrow(x, inputs, start, start + (left < PART ? left : PART), task / parts, rows, to);
    });
}

// Groups of 16 outputs' weights, as tiles are loaded: bytes from output to output, group to group.
struct Strip {
    const int8_t* weights;
    int64_t output, group;
    const float* scales;  // [16][step]
    int64_t step;
    const uint8_t* next;  // what comes from memory meanwhile: lines so many bytes apart
    int64_t apart;
    int shared;  // 2^shared groups have the same 16 lines
};

// Ask for group g's part of the next block's lines.
CPM_INLINE void look_ahead(const Strip& s, int64_t g) {
    const int64_t lines = SIDE >> s.shared, turn = g & ((1 << s.shared) - 1);
    const int64_t column = (g >> s.shared) * (s.apart == 64 ? TILE_BYTES : 64);
    const uint8_t* const at = s.next + turn * lines * s.apart + column;
    for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(at + i * s.apart, 0, 2);
}

// sums[o] += results of output o with 16 rows, times their scale.
CPM_INLINE void take(const int32_t* results, const float* scales, int64_t step, f32s* sums) {
    CPM_UNROLL for (int o = 0; o < SIDE; ++o) {
        const i32s high = load(results + o * SIDE), low = load(results + (SIDE + o) * SIDE);
        sums[o] =
            fma(__builtin_convertvector((high << 8) + low, f32s), splat(scales[o * step]), sums[o]);
    }
}

// Put the sums of the next group into tiles `high` and `low`, and from there into `results`. A
// macro, since a tile's number must stand in the text.
#define CPM_TILES(high, low, results)             \
    _tile_loadd(4, weights, s.output);            \
    _tile_loadd(5, numbers, 64);                  \
    _tile_loadd(6, numbers + TILE_BYTES, 64);     \
    _tile_zero(high);                             \
    _tile_dpbssd(high, 4, 5);                     \
    _tile_zero(low);                              \
    _tile_dpbssd(low, 4, 6);                      \
    _tile_stored(high, results, 64);              \
    _tile_stored(low, results + SIDE * SIDE, 64); \
    weights += s.group, numbers += 2 * TILE_BYTES

// totals[16] += the products of `groups` groups of 16 outputs with 16 rows. Tiles are slow to come:
// those of a group are asked for before the results of the group before are taken.
template <bool AHEAD>
void multiply(const Strip& s, const uint8_t* numbers, int64_t groups, float* totals) {
    alignas(64) int32_t even[2 * SIDE * SIDE], odd[2 * SIDE * SIDE];
    const int8_t* weights = s.weights;
    f32s sums[SIDE];
    CPM_UNROLL for (int o = 0; o < SIDE; ++o)
        sums[o] = load(totals + o * SIDE);
    CPM_TILES(0, 1, even);
    for (int64_t g = 0; g < groups; g += 2) {
        if (g + 1 < groups) {
            CPM_TILES(2, 3, odd);
        }
        if constexpr (AHEAD) look_ahead(s, g);
        take(even, s.scales + g, s.step, sums);
        if (g + 2 < groups) {
            CPM_TILES(0, 1, even);
        }
        if (g + 1 < groups) {
            if constexpr (AHEAD) look_ahead(s, g + 1);
            take(odd, s.scales + g + 1, s.step, sums);
        }
    }
    CPM_UNROLL for (int o = 0; o < SIDE; ++o)
        store(totals + o * SIDE, sums[o]);
}

// The outputs of a task, and room for a block of their inputs.
struct Task {
    const Weights& w;
    int64_t first, count;
    float* totals;    // [TOGETHER][outputs][16]
    float* scales;    // [outputs][step], widened
    int8_t* widened;  // [outputs][inputs]: 4 bits, and outputs that do not fill a tile
    int64_t strips() const { return ceiling(count, SIDE); }
    int64_t step(const Rows& x) const { return ceiling(x.groups, LANES) * LANES; }
};

// Widen the scales of a task, and ask for those of the next.
void widen_task(const Task& t, const Rows& x) {
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
Strip prepare(const Task& t, const Rows& x, int64_t s, int64_t g, int64_t groups) {
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

void block(const Task& t, const Rows& x, int64_t band, int64_t bands, int64_t g, int64_t groups) {
    Strip strips[MOST.outputs / SIDE];
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

void compute(const Task& t, const Rows& x, int64_t rows, const Target& target) {
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
    const Rows narrowed(rows, w, room);
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
