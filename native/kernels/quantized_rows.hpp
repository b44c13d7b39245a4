// Rows of x as whole numbers, in the order in which they are multiplied.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/quantize.hpp"

namespace cpm::CPM_ISA {
namespace {

// Rows are kept by bands of LANES; the last has as many as are left, filled up with zeros to a
// power of two. A band is [units][rows][NUMBER_BYTES].
struct Band {
    int64_t first, used;
    int rows;
};

CPM_INLINE Band band_of(int64_t row, int64_t rows) {
    const int64_t first = row / LANES * LANES, left = rows - first;
    int room = 1;
    while (room < LANES && room < left) room *= 2;
    return {first, left < LANES ? left : LANES, room};
}

template <class Q>
CPM_INLINE int64_t units_of(const Weights& w) {
    return ceiling(w.padded, Q::GROUP * Q::GROUPS);
}

// Room for the rows of one call: values, zeros, units.
template <class Q>
struct Rows {
    Rows(int64_t rows, const Weights& w, void* room)
        : groups(w.padded / Q::GROUP),
          units(units_of<Q>(w)),
          values(static_cast<uint8_t*>(room)),
          zeros(reinterpret_cast<int32_t*>(values + value_bytes(rows, w))),
          scales(reinterpret_cast<float*>(zeros + zero_count(rows, w))) {}

    static int64_t filled(int64_t rows) {
        const Band last = band_of(rows - 1, rows);
        return last.first + last.rows;
    }
    static int64_t value_bytes(int64_t rows, const Weights& w) {
        return filled(rows) * units_of<Q>(w) * Q::NUMBER_BYTES;
    }
    static int64_t zero_count(int64_t rows, const Weights& w) {
        return Q::ZERO ? ceiling(rows, LANES) * (w.padded / Q::GROUP) * LANES : 0;
    }
    static int64_t bytes(int64_t rows, const Weights& w) {
        return value_bytes(rows, w) + 4 * (zero_count(rows, w) + rows);
    }
    const uint8_t* at(Band band, int64_t unit) const {
        return values + (band.first * units + unit * band.rows) * Q::NUMBER_BYTES;
    }

    const int64_t groups, units;
    uint8_t* const values;
    int32_t* const zeros;  // what code ZERO gives in place of 0: [bands][groups][LANES]
    float* const scales;   // of rows
};

template <class Q>
void narrow(const float* x, int64_t inputs, int64_t row, int64_t rows, const Rows<Q>& to) {
    constexpr int64_t SIZE = Q::GROUP * Q::GROUPS;
    const Band band = band_of(row < rows ? row : rows - 1, rows);
    const int64_t place = row - band.first, count = row < rows ? inputs : 0;
    const float scale = unit_of(x, count);
    if (row < rows) to.scales[row] = scale;
    for (int64_t u = 0; u < to.units; ++u) {
        int16_t numbers[SIZE];
        round_all(x + u * SIZE, count - u * SIZE, SIZE, scale, numbers);
        Q::keep(numbers,
                to.values + (band.first * to.units + u * band.rows + place) * Q::NUMBER_BYTES);
        if constexpr (Q::ZERO != 0)
            for (int64_t g = 0; g < Q::GROUPS && u * Q::GROUPS + g < to.groups; ++g) {
                int32_t sum = 0;
                for (int64_t i = 0; i < Q::GROUP; ++i) sum += numbers[g * Q::GROUP + i];
                const int64_t at = (band.first / LANES * to.groups + u * Q::GROUPS + g) * LANES;
                for (int64_t l = place; l < LANES; l += band.rows) to.zeros[at + l] = Q::ZERO * sum;
            }
    }
}

template <class Q>
void narrow_all(Pool& pool, const float* x, int64_t rows, int64_t inputs, const Rows<Q>& to) {
    constexpr int64_t TASK = 16384;  // numbers that are worth a thread's while
    const int64_t together = TASK / inputs + 1, filled = Rows<Q>::filled(rows);
    parallel(pool, ceiling(filled, together), 0, [&](int64_t task, float*) {
        for (int64_t r = task * together; r < filled && r < (task + 1) * together; ++r)
            narrow<Q>(x + (r < rows ? r : 0) * inputs, inputs, r, rows, to);
    });
}

}  // namespace

}  // namespace cpm::CPM_ISA
