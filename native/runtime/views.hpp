// The arguments of kernels: pointers and sizes, checked by the bindings.
#pragma once

#include <cstdint>

#include "runtime/element.hpp"

namespace cpm {

// A weight matrix: values[rows][columns], which is [K, O], or [O, K] if transposed.
//
// Quantized matrices are transposed. Their rows are padded with zeros to padded_inputs, a whole
// number of groups. q8: int8, weight = q * scale. q4: byte i of the 16 of a group has input i in
// its low half and input i + 16 in its high half; weight = (q - 8) * scale.
struct Weights {
    const void* values;
    Element element;
    bool transposed;
    int64_t inputs, outputs;
    const float* bias = nullptr;       // [O], or null
    const uint16_t* scales = nullptr;  // float16[O][groups], or null
    int64_t padded_inputs = 0;         // of a quantized matrix
};

// The slots that each of `rows` new tokens attends to, from the root of its path to itself.
struct PathsView {
    int64_t rows;
    const int64_t* offsets;  // [rows + 1]
    const int32_t* slots;
    int64_t max_length;
};

// Keys and values of one layer. Chunk c has slots c * CHUNK_SLOTS to (c + 1) * CHUNK_SLOTS - 1, as
// [keys, values][heads][CHUNK_SLOTS][padded_head_size] from element `layer_offset` on. Heads are
// padded with zeros to whole vectors, so that kernels need no code for a partial one.
struct KVCacheView {
    static constexpr int64_t CHUNK_SLOTS = 64;
    void* const* chunks;
    Element element;
    int64_t heads, head_size, padded_head_size, layer_offset;
};

enum class Gelu { tanh, erf };

}  // namespace cpm
