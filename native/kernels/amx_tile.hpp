// Sums of 16 outputs with 16 rows, by tiles.
#pragma once

#include "kernels/amx_rows.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

// What ldtilecfg reads: Intel's manual, volume 1, 18.
struct alignas(64) TileConfig {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles 0 to 3 are results, 4 weights, 5 and 6 activations of a group of so many inputs.
void configure_tiles(int64_t group) {
    TileConfig c;
    for (int i = 0; i < 7; ++i) c.rows[i] = TILE_SIZE, c.row_bytes[i] = 64;
    c.row_bytes[4] = static_cast<uint16_t>(group);
    c.rows[5] = c.rows[6] = static_cast<uint8_t>(group / 4);
    asm volatile("" ::"r"(&c) : "memory");  // GCC believes that only the first bytes are read
    _tile_loadconfig(&c);
}

// Groups of 16 outputs' weights, as tiles are loaded: bytes from output to output, group to group.
struct AmxStrip {
    const int8_t* weights;
    int64_t output_stride, group_stride;
    const float* scales;  // [16][step]
    int64_t scale_stride;
    const uint8_t* next;  // what comes from memory meanwhile: lines so many bytes apart
    int64_t line_stride;
    int line_shift;  // 2^shared groups have the same 16 lines
};

// Ask for group g's part of the next block's lines.
CPM_INLINE void prefetch_next(const AmxStrip& s, int64_t g) {
    const int64_t lines = TILE_SIZE >> s.line_shift, turn = g & ((1 << s.line_shift) - 1);
    const int64_t column = (g >> s.line_shift) * (s.line_stride == 64 ? TILE_BYTES : 64);
    const uint8_t* const at = s.next + turn * lines * s.line_stride + column;
    for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(at + i * s.line_stride, 0, 2);
}

// sums[o] += results of output o with 16 rows, times their scale.
CPM_INLINE void accumulate(const int32_t* results, const float* scales, int64_t scale_stride,
                           f32s* sums) {
    CPM_UNROLL for (int o = 0; o < TILE_SIZE; ++o) {
        const i32s high = load(results + o * TILE_SIZE),
                   low = load(results + (TILE_SIZE + o) * TILE_SIZE);
        sums[o] = fma(__builtin_convertvector((high << 8) + low, f32s),
                      splat(scales[o * scale_stride]), sums[o]);
    }
}

// Put the sums of the next group into tiles `high` and `low`, and from there into `results`. A
// macro, since a tile's number must stand in the text.
#define CPM_MULTIPLY_GROUP(high, low, results)              \
    _tile_loadd(4, weights, s.output_stride);               \
    _tile_loadd(5, activations, 64);                        \
    _tile_loadd(6, activations + TILE_BYTES, 64);           \
    _tile_zero(high);                                       \
    _tile_dpbssd(high, 4, 5);                               \
    _tile_zero(low);                                        \
    _tile_dpbssd(low, 4, 6);                                \
    _tile_stored(high, results, 64);                        \
    _tile_stored(low, results + TILE_SIZE * TILE_SIZE, 64); \
    weights += s.group_stride, activations += 2 * TILE_BYTES

// totals[16] += the products of `groups` groups of 16 outputs with 16 rows. Tiles are slow to come:
// those of a group are asked for before the results of the group before are taken.
template <bool PREFETCH>
void multiply_tiles(const AmxStrip& s, const uint8_t* activations, int64_t groups, float* totals) {
    alignas(64) int32_t even[2 * TILE_SIZE * TILE_SIZE], odd[2 * TILE_SIZE * TILE_SIZE];
    const int8_t* weights = s.weights;
    f32s sums[TILE_SIZE];
    CPM_UNROLL for (int o = 0; o < TILE_SIZE; ++o)
        sums[o] = load(totals + o * TILE_SIZE);
    CPM_MULTIPLY_GROUP(0, 1, even);
    for (int64_t g = 0; g < groups; g += 2) {
        if (g + 1 < groups) {
            CPM_MULTIPLY_GROUP(2, 3, odd);
        }
        if constexpr (PREFETCH) prefetch_next(s, g);
        accumulate(even, s.scales + g, s.scale_stride, sums);
        if (g + 2 < groups) {
            CPM_MULTIPLY_GROUP(0, 1, even);
        }
        if (g + 1 < groups) {
            if constexpr (PREFETCH) prefetch_next(s, g + 1);
            accumulate(odd, s.scales + g + 1, s.scale_stride, sums);
        }
    }
    CPM_UNROLL for (int o = 0; o < TILE_SIZE; ++o)
        store(totals + o * TILE_SIZE, sums[o]);
}

}  // namespace

}  // namespace cpm::CPM_ISA

#endif
