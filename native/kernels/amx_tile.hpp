// A strip of 16 outputs with a band of 16 rows, by the tiles of AMX.
//
//   for group: load the weights (tile 4) and the activations (tiles 5 and 6)
//     results = weights * activations, once with the high and once with the low bytes
//     store the results; for output: sum += (256 * high + low) * scale, LANES rows a vector
//
// The tiles of a group are started before the results of the group before are accumulated, since
// loads and products of tiles have a long latency.
//
// A part of linear_amx.cpp: names are local to that file, which lets the compiler specialize
// the functions.
#pragma once

#include "kernels/amx_rows.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

// The operand of ldtilecfg: Intel's manual, volume 1, 18.
struct alignas(64) TileConfig {
    uint8_t palette = 1, start = 0, unused[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles 0 to 3 are results, 4 weights, 5 and 6 activations; a group has `group` inputs.
void configure_tiles(int64_t group) {
    TileConfig c;
    for (int i = 0; i < 7; ++i) c.rows[i] = TILE_SIZE, c.row_bytes[i] = 64;
    c.row_bytes[4] = static_cast<uint16_t>(group);
    c.rows[5] = c.rows[6] = static_cast<uint8_t>(group / 4);
    asm volatile("" ::"r"(&c) : "memory");  // GCC assumes that only 8 bytes are read
    _tile_loadconfig(&c);
}

// The weights of 16 outputs, as tiles are loaded from them; strides in bytes.
struct AmxStrip {
    const int8_t* weights;
    int64_t output_stride, group_stride;
    const float* scales;  // [16][scale_stride]
    int64_t scale_stride;
    const uint8_t* next;  // weights to prefetch, lines line_stride bytes apart
    int64_t line_stride;
    int line_shift;  // the 16 lines are shared by 2^line_shift groups
};

// Prefetch the lines of the next block that belong to group g.
CPM_INLINE void prefetch_next(const AmxStrip& s, int64_t g) {
    const int64_t lines = TILE_SIZE >> s.line_shift, share = g & ((1 << s.line_shift) - 1);
    const int64_t column = (g >> s.line_shift) * (s.line_stride == 64 ? TILE_BYTES : 64);
    const uint8_t* const at = s.next + share * lines * s.line_stride + column;
    for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(at + i * s.line_stride, 0, 2);
}

// sums[o] += results of output o with 16 rows, times the scale of the output.
CPM_INLINE void accumulate(const int32_t* results, const float* scales, int64_t scale_stride,
                           f32s* sums) {
    CPM_UNROLL for (int o = 0; o < TILE_SIZE; ++o) {
        const i32s high = load(results + o * TILE_SIZE),
                   low = load(results + (TILE_SIZE + o) * TILE_SIZE);
        sums[o] = fma(__builtin_convertvector((high << 8) + low, f32s),
                      splat(scales[o * scale_stride]), sums[o]);
    }
}

// Multiply the next group into tiles `high` and `low`, and store them to `results`. A macro, since
// the number of a tile must be a literal.
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

// totals[16 outputs][16 rows] += the products of `groups` groups.
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
