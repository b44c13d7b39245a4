// The quantized rows of x, in the order in which they are multiplied.
//
// Rows are stored in bands of LANES. The last band holds the rest, filled with zeros up to a power
// of two. Layout of a band: [blocks][rows][ACTIVATION_BYTES]. Example: 19 rows with 16 lanes are a
// band of 16 rows and a band of 4, of which 3 are used.
//
// A part of linear_quantized.cpp: names are local to that file, which lets the compiler specialize
// the functions.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/quantize.hpp"

namespace cpm::CPM_ISA {
namespace {

// Rows first .. first + used of x; `rows` is the number with the filling.
struct Band {
    int64_t first, used;
    int rows;
};

CPM_INLINE Band band_of(int64_t row, int64_t rows) {
    const int64_t first = row / LANES * LANES, left = rows - first;
    int size = 1;
    while (size < LANES && size < left) size *= 2;
    return {first, left < LANES ? left : LANES, size};
}

template <class Q>
CPM_INLINE int64_t k_blocks(const Weights& w) {
    return ceil_div(w.padded_inputs, Q::GROUP * Q::GROUPS);
}

// The rows of one call, in a workspace: values, zero offsets, scales.
template <class Q>
struct QuantizedRows {
    QuantizedRows(int64_t rows, const Weights& w, void* workspace)
        : groups(w.padded_inputs / Q::GROUP),
          blocks(k_blocks<Q>(w)),
          values(static_cast<uint8_t*>(workspace)),
          zero_offsets(reinterpret_cast<int32_t*>(values + value_bytes(rows, w))),
          scales(reinterpret_cast<float*>(zero_offsets + zero_offset_count(rows, w))) {}

    static int64_t padded_rows(int64_t rows) {
        const Band last = band_of(rows - 1, rows);
        return last.first + last.rows;
    }
    static int64_t value_bytes(int64_t rows, const Weights& w) {
        return padded_rows(rows) * k_blocks<Q>(w) * Q::ACTIVATION_BYTES;
    }
    static int64_t zero_offset_count(int64_t rows, const Weights& w) {
        return Q::ZERO_POINT ? ceil_div(rows, LANES) * (w.padded_inputs / Q::GROUP) * LANES : 0;
    }
    static int64_t bytes(int64_t rows, const Weights& w) {
        return value_bytes(rows, w) + 4 * (zero_offset_count(rows, w) + rows);
    }
    const uint8_t* at(Band band, int64_t block) const {
        return values + (band.first * blocks + block * band.rows) * Q::ACTIVATION_BYTES;
    }

    const int64_t groups, blocks;
    uint8_t* const values;
    int32_t* const zero_offsets;  // [bands][groups][LANES], see below
    float* const scales;          // of rows
};

// Quantize one row. A code c of q4 stands for c - ZERO_POINT, but codes are multiplied as they are:
// the zero offset of a group, ZERO_POINT times the sum of its activations, is subtracted later.
template <class Q>
void quantize_row(const float* x, int64_t inputs, int64_t row, int64_t rows,
                  const QuantizedRows<Q>& to) {
    constexpr int64_t SIZE = Q::GROUP * Q::GROUPS;
    const Band band = band_of(row < rows ? row : rows - 1, rows);
    const int64_t lane = row - band.first, count = row < rows ? inputs : 0;
    const float scale = row_scale(x, count);
    if (row < rows) to.scales[row] = scale;
    for (int64_t b = 0; b < to.blocks; ++b) {
        int16_t activations[SIZE];
        quantize(x + b * SIZE, count - b * SIZE, SIZE, scale, activations);
        Q::store_activations(
            activations,
            to.values + (band.first * to.blocks + b * band.rows + lane) * Q::ACTIVATION_BYTES);
        if constexpr (Q::ZERO_POINT != 0)
            for (int64_t g = 0; g < Q::GROUPS && b * Q::GROUPS + g < to.groups; ++g) {
                int32_t sum = 0;
                for (int64_t i = 0; i < Q::GROUP; ++i) sum += activations[g * Q::GROUP + i];
                const int64_t at = (band.first / LANES * to.groups + b * Q::GROUPS + g) * LANES;
                for (int64_t l = lane; l < LANES; l += band.rows)
                    to.zero_offsets[at + l] = Q::ZERO_POINT * sum;
            }
    }
}

template <class Q>
void quantize_rows(Pool& pool, const float* x, int64_t rows, int64_t inputs,
                   const QuantizedRows<Q>& to) {
    constexpr int64_t TASK_ELEMENTS = 16384;  // enough work for a thread
    const int64_t rows_per_task = TASK_ELEMENTS / inputs + 1,
                  padded_rows = QuantizedRows<Q>::padded_rows(rows);
    parallel_for(pool, ceil_div(padded_rows, rows_per_task), 0, [&](int64_t task, float*) {
        for (int64_t r = task * rows_per_task; r < padded_rows && r < (task + 1) * rows_per_task;
             ++r)
            quantize_row<Q>(x + (r < rows ? r : 0) * inputs, inputs, r, rows, to);
    });
}

}  // namespace

}  // namespace cpm::CPM_ISA
