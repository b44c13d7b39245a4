// Rows of x as the tiles of AMX that are multiplied.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/quantize.hpp"
#include "kernels/simd_shuffle.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

static_assert(LANES == 16);

constexpr int64_t SIDE = 16;  // rows, and outputs, of a tile of results
constexpr int64_t TILE_BYTES = 1024;
constexpr int64_t TOGETHER = 8;  // bands of 16 rows that read a block of weights in turn

// A block's weights and numbers are to stay in the second-level cache, and if there are many bands,
// a band's numbers in the first. If there are few, memory is the limit, and its order matters.
struct AmxBlock {
    int64_t inputs, outputs;
};
constexpr AmxBlock MOST_BLOCK{2560, 256};
constexpr AmxBlock block_for(int64_t bands) {
    return bands <= 2 ? AmxBlock{2560, 64} : AmxBlock{512, 256};
}

struct AmxRows {
    AmxRows(int64_t rows, const Weights& w, void* room)
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
    const AmxBlock block;
    uint8_t* const values;  // [bands][groups][high, low][TILE_BYTES]
    float* const scales;
};

// Write inputs start .. stop of a band into its tiles. A tile's row is four inputs of all 16 rows
// of x, so the bytes of 64 inputs are transposed by fours.
void narrow(const float* x, int64_t inputs, int64_t start, int64_t stop, int64_t band, int64_t rows,
            const AmxRows& to) {
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

void narrow_all(Pool& pool, const float* x, int64_t rows, int64_t inputs, const AmxRows& to) {
    constexpr int64_t PART = 1024;
    const int64_t padded = to.groups * to.group, parts = ceiling(padded, PART);
    parallel(pool, to.bands * parts, 0, [&](int64_t task, float*) {
        const int64_t start = task % parts * PART, left = padded - start;
        narrow(x, inputs, start, start + (left < PART ? left : PART), task / parts, rows, to);
    });
}

}  // namespace

}  // namespace cpm::CPM_ISA

#endif
