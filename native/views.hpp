// What kernels work on: plain pointers and sizes, checked before they come here.
#pragma once

#include <cstdint>

namespace cpm {

enum class Element { f32, f16, bf16 };

constexpr int64_t element_bytes(Element element) { return element == Element::f32 ? 4 : 2; }

// A weight matrix: values[rows][columns], which is [K, O], or [O, K] if transposed.
struct Weights {
    const void* values;
    Element element;
    bool transposed;
    int64_t inputs, outputs;
    const float* bias;  // [O], or null
};

// The slots that each of `rows` new tokens sees, from its root to itself.
struct PathsView {
    int64_t rows;
    const int64_t* offsets;  // [rows + 1]
    const int32_t* slots;
    int64_t longest;
};

// Keys and values of one layer: chunk c holds slots c * CHUNK_SLOTS and the following, as
// [2][heads][CHUNK_SLOTS][padded] from `layer_offset` elements on. A head's numbers are padded
// with zeros to a whole number of vectors, so that no kernel has a tail.
struct CacheView {
    static constexpr int64_t CHUNK_SLOTS = 64;
    void* const* chunks;
    Element element;
    int64_t heads, head_size, padded, layer_offset;
};

enum class Gelu { tanh, erf };

}  // namespace cpm
