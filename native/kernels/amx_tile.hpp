// Sums of 16 outputs with 16 rows, by tiles.
#pragma once

#include "kernels/amx_rows.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

// What ldtilecfg reads: Intel's manual, volume 1, 18.
struct alignas(64) AmxConfiguration {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles 0 to 3 are results, 4 weights, 5 and 6 numbers of a group of so many inputs.
void configure(int64_t group) {
    AmxConfiguration c;
    for (int i = 0; i < 7; ++i) c.rows[i] = SIDE, c.row_bytes[i] = 64;
    c.row_bytes[4] = static_cast<uint16_t>(group);
    c.rows[5] = c.rows[6] = static_cast<uint8_t>(group / 4);
    asm volatile("" ::"r"(&c) : "memory");  // GCC believes that only the first bytes are read
    _tile_loadconfig(&c);
}

// Groups of 16 outputs' weights, as tiles are loaded: bytes from output to output, group to group.
struct AmxStrip {
    const int8_t* weights;
    int64_t output, group;
    const float* scales;  // [16][step]
    int64_t step;
    const uint8_t* next;  // what comes from memory meanwhile: lines so many bytes apart
    int64_t apart;
    int shared;  // 2^shared groups have the same 16 lines
};

// Ask for group g's part of the next block's lines.
CPM_INLINE void look_ahead(const AmxStrip& s, int64_t g) {
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
void multiply(const AmxStrip& s, const uint8_t* numbers, int64_t groups, float* totals) {
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

}  // namespace

}  // namespace cpm::CPM_ISA

#endif
