// Weight matrices from Python: checked once, then used by many products.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings/arrays.hpp"
#include "runtime/views.hpp"

namespace cpm {

namespace nb = nanobind;

// Return the element of that name; ValueError if there is none.
Element parse_element(const std::string& name);

class Matrix {
public:
    Matrix(nb::handle values, const std::string& element, bool transposed, nb::handle bias);
    static std::unique_ptr<Matrix> make_quantized(nb::handle values, nb::handle scales,
                                                  const std::string& element, int64_t inputs,
                                                  nb::handle bias);
    const Weights& view() const { return view_; }
    int64_t inputs() const { return view_.inputs; }
    int64_t outputs() const { return view_.outputs; }
    const char* element() const { return element_name(view_.element); }
    int64_t bytes() const { return bytes_; }

private:
    Matrix(nb::handle values, nb::handle scales, Element kind, int64_t inputs, nb::handle bias);
    void set_bias(nb::handle bias);

    Array values_;
    std::optional<Array> scales_, bias_;
    Weights view_;
    int64_t bytes_ = 0;
};

}  // namespace cpm
