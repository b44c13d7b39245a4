#include "bindings/matrix.hpp"

#include "runtime/check.hpp"

namespace cpm {
namespace {

// numpy's names of the types of `values`, in the order of Element.
constexpr const char* NUMPY_TYPES[] = {"float32", "float16", "uint16", "int8", "uint8"};

const char* numpy_type(Element element) { return NUMPY_TYPES[static_cast<int>(element)]; }

Element parse_float_element(const std::string& name) {
    const Element element = parse_element(name);
    require(!is_quantized(element), "element is '" + name +
                                        "'; f32, f16 or bf16 was expected, the "
                                        "others by Matrix.quantized");
    return element;
}

}  // namespace

Element parse_element(const std::string& name) {
    if (name == "f32") return Element::f32;
    if (name == "f16") return Element::f16;
    if (name == "bf16") return Element::bf16;
    if (name == "q8") return Element::q8;
    if (name == "q4") return Element::q4;
    fail("element is '" + name + "'; f32, f16, bf16, q8 or q4 was expected");
}

Matrix::Matrix(nb::handle values, const std::string& element, bool transposed, nb::handle bias)
    : values_(values.ptr(), "values", numpy_type(parse_float_element(element)), 2) {
    const Element kind = parse_float_element(element);
    const int64_t rows = values_.size(0), columns = values_.size(1);
    require(rows > 0 && columns > 0, "values has no elements");
    view_ = {values_.data<const void>(), kind, transposed, transposed ? columns : rows,
             transposed ? rows : columns};
    set_bias(bias);
    bytes_ = rows * columns * element_bytes(kind);
}

std::unique_ptr<Matrix> Matrix::make_quantized(nb::handle values, nb::handle scales,
                                               const std::string& element, int64_t inputs,
                                               nb::handle bias) {
    const Element kind = parse_element(element);
    require(is_quantized(kind), "element is '" + element + "'; q8 or q4 was expected");
    constexpr int64_t MAX_INPUTS = int64_t{1} << 40;
    require(1 <= inputs && inputs <= MAX_INPUTS,
            "inputs is " + std::to_string(inputs) + "; 1 to 2^40 was expected");
    return std::unique_ptr<Matrix>(new Matrix(values, scales, kind, inputs, bias));
}

Matrix::Matrix(nb::handle values, nb::handle scales, Element kind, int64_t inputs, nb::handle bias)
    : values_(values.ptr(), "values", numpy_type(kind), 2) {
    const int64_t outputs = values_.size(0), size = group_size(kind);
    const int64_t groups = (inputs + size - 1) / size;
    const int64_t packed = kind == Element::q8 ? groups * size : groups * size / 2;
    require(outputs > 0, "values has no elements");
    values_.require_shape({outputs, packed});
    scales_.emplace(scales.ptr(), "scales", "float16", 2);
    scales_->require_shape({outputs, groups});
    view_ = {values_.data<const void>(), kind, true, inputs, outputs};
    view_.scales = scales_->data<const uint16_t>();
    view_.padded_inputs = groups * size;
    set_bias(bias);
    bytes_ = outputs * (packed + 2 * groups);
}

void Matrix::set_bias(nb::handle bias) {
    if (bias.is_none()) return;
    bias_.emplace(bias.ptr(), "bias", "float32", 1);
    bias_->require_shape({view_.outputs});
    view_.bias = bias_->data<const float>();
}

}  // namespace cpm
