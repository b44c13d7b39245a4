// What kernels work on: plain pointers and sizes, checked before they come here.
#pragma once

#include <cstdint>

#include "runtime/element.hpp"

namespace cpm {

// A weight matrix: values[rows][columns], which is [K, O], or [O, K] if transposed.
//
// Quantised matrices are transposed, their rows filled up with zeros to `padded`, a whole number of
// groups. q8: int8, q * scale. q4: byte i of a group's 16 holds input i in its low half and input
// i + 16 in its high half, (q - 8) * scale.
struct Weights {
    const void* values;
    Element element;
    bool transposed;
    int64_t inputs, outputs;
    const float* bias = nullptr;       // [O], or null
    const uint16_t* scales = nullptr;  // float16[O][groups], or null
    int64_t padded_inputs = 0;         // numbers in a row of a quantised matrix
};

// The slots that each of `rows` new tokens sees, from its root to itself.
struct PathsView {
    int64_t rows;
    const int64_t* offsets;  // [rows + 1]
    const int32_t* slots;
    int64_t max_length;
};

// Keys and values of one layer: chunk c holds slots c * CHUNK_SLOTS and the following, as
// [2][heads][CHUNK_SLOTS][padded] from `layer_offset` elements on. A head's numbers are padded
// with zeros to a whole number of vectors, so that no kernel has a tail.
struct KVCacheView {
    static constexpr int64_t CHUNK_SLOTS = 64;
    void* const* chunks;
    Element element;
    int64_t heads, head_size, padded_head_size, layer_offset;
};

enum class Gelu { tanh, erf };

}  // namespace cpm
