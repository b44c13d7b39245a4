// The quantized rows of x as tiles of AMX.
//
// A tile holds the same inputs of 16 rows, as bytes: tile row j has inputs 4j .. 4j + 3 of row 0,
// then of row 1, and so on, which is the order that tdpbssd wants. For every group there are two
// tiles, one with the high and one with the low bytes.
//
// A part of linear_amx.cpp: names are local to that file, which lets the compiler specialize
// the functions.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/quantize.hpp"
#include "kernels/simd_shuffle.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

static_assert(LANES == 16);

constexpr int64_t TILE_SIZE = 16;  // rows and outputs of a tile of results
constexpr int64_t TILE_BYTES = 1024;
constexpr int64_t MAX_BANDS = 8;  // of 16 rows that use a block of weights one after the other

// Many bands: a block's weights, 512 * 256 bytes = 128 kB, stay in the L2 cache, and a band's
// activations, 16 * 512 * 2 bytes = 16 kB, in the L1 cache. One or two bands: memory is the limit,
// so few outputs are read over many inputs, which is nearly the order of memory.
struct AmxBlock {
    int64_t inputs, outputs;
};
constexpr AmxBlock MAX_BLOCK{2560, 256};
constexpr AmxBlock block_size(int64_t bands) {
    return bands <= 2 ? AmxBlock{2560, 64} : AmxBlock{512, 256};
}

struct AmxRows {
    AmxRows(int64_t rows, const Weights& w, void* workspace)
        : group(group_size(w.element)),
          groups(w.padded_inputs / group),
          bands(ceil_div(rows, TILE_SIZE)),
          block(block_size(bands)),
          values(static_cast<uint8_t*>(workspace)),
          scales(reinterpret_cast<float*>(values + bands * groups * 2 * TILE_BYTES)) {}
    uint8_t* at(int64_t band, int64_t g) const {
        return values + (band * groups + g) * 2 * TILE_BYTES;
    }
    const int64_t group, groups, bands;
    const AmxBlock block;
    uint8_t* const values;  // [bands][groups][high, low][TILE_BYTES]
    float* const scales;
};

// Quantize inputs start .. stop of a band and write them into its tiles. 64 inputs of 16 rows are a
// matrix of 16 x 16 blocks of 4 bytes, which is transposed.
void quantize_band(const float* x, int64_t inputs, int64_t start, int64_t stop, int64_t band,
                   int64_t rows, const AmxRows& to) {
    float scales[TILE_SIZE];
    for (int64_t r = 0; r < TILE_SIZE; ++r) {
        const int64_t row = band * TILE_SIZE + r;
        scales[r] = row < rows ? row_scale(x + row * inputs, inputs) : 0.0f;
        if (row < rows && start == 0) to.scales[row] = scales[r];
    }
    for (int64_t i = start; i < stop; i += 64) {
        i32s high[TILE_SIZE], low[TILE_SIZE];
        for (int64_t r = 0; r < TILE_SIZE; ++r) {
            const int64_t row = band * TILE_SIZE + r;
            int16_t activations[64];
            uint8_t bytes[2][64];
            quantize(x + (row < rows ? row * inputs + i : 0), row < rows ? inputs - i : 0, 64,
                     scales[r], activations);
            for (int64_t k = 0; k < 64; k += 16)
                split_bytes(activations + k, bytes[0] + k, bytes[1] + k);
            std::memcpy(high + r, bytes[0], 64);
            std::memcpy(low + r, bytes[1], 64);
        }
        transpose<1>(high);
        transpose<1>(low);
        for (int64_t j = 0; j < TILE_SIZE; ++j) {
            const int64_t g = (i + 4 * j) / to.group;
            if (g == to.groups) break;
            uint8_t* const at = to.at(band, g) + (i + 4 * j) % to.group * TILE_SIZE;
            std::memcpy(at, high + j, 64);
            std::memcpy(at + TILE_BYTES, low + j, 64);
        }
    }
}

void quantize_rows(Pool& pool, const float* x, int64_t rows, int64_t inputs, const AmxRows& to) {
    constexpr int64_t TASK_INPUTS = 1024;
    const int64_t padded = to.groups * to.group, parts = ceil_div(padded, TASK_INPUTS);
    parallel_for(pool, to.bands * parts, 0, [&](int64_t task, float*) {
        const int64_t start = task % parts * TASK_INPUTS, left = padded - start;
        quantize_band(x, inputs, start, start + (left < TASK_INPUTS ? left : TASK_INPUTS),
                      task / parts, rows, to);
    });
}

}  // namespace

}  // namespace cpm::CPM_ISA

#endif
