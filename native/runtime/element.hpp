// The element types in which weights, keys and values are stored.
#pragma once

#include <cstdint>

namespace cpm {

enum class Element { f32, f16, bf16, q8, q4 };

// In the order of Element.
inline constexpr const char* ELEMENT_NAMES[] = {"f32", "f16", "bf16", "q8", "q4"};

inline const char* element_name(Element element) {
    return ELEMENT_NAMES[static_cast<int>(element)];
}

// Bytes of an element of f32, f16 or bf16.
constexpr int64_t element_bytes(Element element) { return element == Element::f32 ? 4 : 2; }

constexpr bool is_quantized(Element element) {
    return element == Element::q8 || element == Element::q4;
}

// The number of weights that share a scale: neighbors in the row of an output.
constexpr int64_t GROUP_Q8 = 64, GROUP_Q4 = 32;

constexpr int64_t group_size(Element element) {
    return element == Element::q8 ? GROUP_Q8 : GROUP_Q4;
}

}  // namespace cpm
