#include "bindings/arrays.hpp"

#include <cstring>
#include <stdexcept>

namespace cpm {
namespace {

struct Type {
    const char* name;
    const char* formats;  // codes of the buffer protocol, which are C types
    int64_t bytes;
};

constexpr Type TYPES[] = {
    {"float32", "f", 4}, {"float16", "e", 2}, {"uint16", "H", 2}, {"int32", "il", 4},
    {"int64", "lq", 8},  {"float64", "d", 8}, {"int8", "b", 1},   {"uint8", "B", 1},
};

bool matches(const Type& type, const Py_buffer& buffer) {
    const char* format = buffer.format ? buffer.format : "B";
    if (*format == '=' || *format == '@') ++format;  // native byte order
    return std::strlen(format) == 1 && std::strchr(type.formats, *format) &&
           buffer.itemsize == type.bytes;
}

std::string type_name(const Py_buffer& buffer) {
    for (const auto& type : TYPES)
        if (matches(type, buffer)) return type.name;
    return std::string("elements of format '") + (buffer.format ? buffer.format : "B") + "'";
}

std::string shape_text(const Py_ssize_t* shape, int count) {
    std::string text = "[";
    for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
}

}  // namespace

Array::Array(PyObject* object, const char* name, const char* type, int dimensions, Access access)
    : name_(name) {
    const std::string subject = std::string(name) + " ";
    if (PyObject_GetBuffer(object, &buffer_, PyBUF_RECORDS_RO) != 0) {
        PyErr_Clear();
        throw std::invalid_argument(subject + "is no array; " + type + " was expected");
    }
    const auto fail = [&](const std::string& why) {
        PyBuffer_Release(&buffer_);
        throw std::invalid_argument(subject + why);
    };
    bool fits = false;
    for (const auto& known : TYPES)
        fits = fits || (!std::strcmp(known.name, type) && matches(known, buffer_));
    if (!fits) fail("holds " + type_name(buffer_) + "; " + type + " was expected");
    if (buffer_.ndim != dimensions)
        fail("has shape " + shape_text(buffer_.shape, buffer_.ndim) + "; " +
             std::to_string(dimensions) + " dimensions were expected");
    if (!PyBuffer_IsContiguous(&buffer_, 'C')) fail("is not C-contiguous");
    if (reinterpret_cast<uintptr_t>(buffer_.buf) % static_cast<uintptr_t>(buffer_.itemsize))
        fail("does not begin at a multiple of its elements' size");
    if (access == Access::write && buffer_.readonly) fail("is read-only");
}

Array::~Array() { PyBuffer_Release(&buffer_); }

void Array::require_shape(std::initializer_list<int64_t> shape) const {
    int axis = 0;
    std::string expected;
    bool fits = true;
    for (const int64_t size : shape) {
        expected += (axis ? ", " : "") + std::to_string(size);
        fits = fits && buffer_.shape[axis++] == size;
    }
    if (!fits)
        throw std::invalid_argument(std::string(name_) + " has shape " +
                                    shape_text(buffer_.shape, buffer_.ndim) + "; [" + expected +
                                    "] was expected");
}

bool Array::overlaps(const Array& other) const {
    const auto* const begin = data<const char>();
    const auto* const other_begin = other.data<const char>();
    return begin < other_begin + other.buffer_.len && other_begin < begin + buffer_.len;
}

}  // namespace cpm
