// Weight matrices from Python: checked once, then read by many products.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "bindings/arrays.hpp"
#include "runtime/views.hpp"

namespace cpm {

namespace nb = nanobind;

[[noreturn]] inline void refuse(const std::string& why) { throw std::invalid_argument(why); }

inline void need(bool holds, const std::string& why) {
    if (!holds) refuse(why);
}

inline Element element_named(const std::string& name) {
    if (name == "f32") return Element::f32;
    if (name == "f16") return Element::f16;
    if (name == "bf16") return Element::bf16;
    if (name == "q8") return Element::q8;
    if (name == "q4") return Element::q4;
    refuse("element is '" + name + "'; f32, f16, bf16, q8 or q4 was expected");
}

inline Element float_named(const std::string& name) {
    const Element element = element_named(name);
    need(!quantised(element), "element is '" + name +
                                  "'; f32, f16 or bf16 was expected, the "
                                  "others by Matrix.quantised");
    return element;
}

// In the order of Element.
inline constexpr const char* NAMES[] = {"f32", "f16", "bf16", "q8", "q4"};
inline constexpr const char* TYPES[] = {"float32", "float16", "uint16", "int8", "uint8"};

inline const char* name_of(Element element) { return NAMES[static_cast<int>(element)]; }
inline const char* type_of(Element element) { return TYPES[static_cast<int>(element)]; }

class Matrix {
public:
    Matrix(nb::handle values, const std::string& element, bool transposed, nb::handle bias)
        : values_(values.ptr(), "values", type_of(float_named(element)), 2) {
        const Element kind = float_named(element);
        const int64_t rows = values_.size(0), columns = values_.size(1);
        need(rows > 0 && columns > 0, "values has no elements");
        view_ = {values_.data<const void>(), kind, transposed, transposed ? columns : rows,
                 transposed ? rows : columns};
        keep_bias(bias);
        bytes_ = rows * columns * element_bytes(kind);
    }
    static std::unique_ptr<Matrix> make_quantised(nb::handle values, nb::handle scales,
                                                  const std::string& element, int64_t inputs,
                                                  nb::handle bias) {
        const Element kind = element_named(element);
        need(quantised(kind), "element is '" + element + "'; q8 or q4 was expected");
        constexpr int64_t MOST = int64_t{1} << 40;
        need(1 <= inputs && inputs <= MOST,
             "inputs is " + std::to_string(inputs) + "; 1 to 2^40 was expected");
        return std::unique_ptr<Matrix>(new Matrix(values, scales, kind, inputs, bias));
    }
    const Weights& view() const { return view_; }
    int64_t bytes() const { return bytes_; }

private:
    Matrix(nb::handle values, nb::handle scales, Element kind, int64_t inputs, nb::handle bias)
        : values_(values.ptr(), "values", type_of(kind), 2) {
        const int64_t outputs = values_.size(0), size = group_of(kind);
        const int64_t groups = (inputs + size - 1) / size;
        const int64_t packed = kind == Element::q8 ? groups * size : groups * size / 2;
        need(outputs > 0, "values has no elements");
        values_.expect({outputs, packed});
        scales_.emplace(scales.ptr(), "scales", "float16", 2);
        scales_->expect({outputs, groups});
        view_ = {values_.data<const void>(), kind, true, inputs, outputs};
        view_.scales = scales_->data<const uint16_t>();
        view_.padded = groups * size;
        keep_bias(bias);
        bytes_ = outputs * (packed + 2 * groups);
    }
    void keep_bias(nb::handle bias) {
        if (bias.is_none()) return;
        bias_.emplace(bias.ptr(), "bias", "float32", 1);
        bias_->expect({view_.outputs});
        view_.bias = bias_->data<const float>();
    }

    Array values_;
    std::optional<Array> scales_, bias_;
    Weights view_;
    int64_t bytes_ = 0;
};

}  // namespace cpm
