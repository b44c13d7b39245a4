#include "bindings/arrays.hpp"

#include <cstring>
#include <stdexcept>

namespace cpm {
namespace {

struct Type {
    const char* name;
    const char* formats;  // of the buffer protocol, which names C's types
    int64_t bytes;
};

constexpr Type TYPES[] = {
    {"float32", "f", 4}, {"float16", "e", 2}, {"uint16", "H", 2}, {"int32", "il", 4},
    {"int64", "lq", 8},  {"float64", "d", 8}, {"int8", "b", 1},   {"uint8", "B", 1},
};

bool is(const Type& type, const Py_buffer& buffer) {
    const char* format = buffer.format ? buffer.format : "B";
    if (*format == '=' || *format == '@') ++format;  // this machine's order of bytes
    return std::strlen(format) == 1 && std::strchr(type.formats, *format) &&
           buffer.itemsize == type.bytes;
}

std::string type_of(const Py_buffer& buffer) {
    for (const auto& type : TYPES)
        if (is(type, buffer)) return type.name;
    return std::string("elements of format '") + (buffer.format ? buffer.format : "B") + "'";
}

std::string list(const Py_ssize_t* sizes, int count) {
    std::string text = "[";
    for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
    return text + "]";
}

}  // namespace

Array::Array(PyObject* object, const char* name, const char* type, int dimensions, Access access)
    : name_(name) {
    const std::string who = std::string(name) + " ";
    if (PyObject_GetBuffer(object, &buffer_, PyBUF_RECORDS_RO) != 0) {
        PyErr_Clear();
        throw std::invalid_argument(who + "is no array; " + type + " was expected");
    }
    const auto refuse = [&](const std::string& why) {
        PyBuffer_Release(&buffer_);
        throw std::invalid_argument(who + why);
    };
    bool fits = false;
    for (const auto& known : TYPES)
        fits = fits || (!std::strcmp(known.name, type) && is(known, buffer_));
    if (!fits) refuse("holds " + type_of(buffer_) + "; " + type + " was expected");
    if (buffer_.ndim != dimensions)
        refuse("has shape " + list(buffer_.shape, buffer_.ndim) + "; " +
               std::to_string(dimensions) + " dimensions were expected");
    if (!PyBuffer_IsContiguous(&buffer_, 'C')) refuse("is not C-contiguous");
    if (reinterpret_cast<uintptr_t>(buffer_.buf) % static_cast<uintptr_t>(buffer_.itemsize))
        refuse("does not begin at a multiple of its elements' size");
    if (access == Access::write && buffer_.readonly) refuse("is read-only");
}

Array::~Array() { PyBuffer_Release(&buffer_); }

void Array::expect(std::initializer_list<int64_t> sizes) const {
    int axis = 0;
    std::string wanted;
    bool fits = true;
    for (const int64_t wants : sizes) {
        wanted += (axis ? ", " : "") + std::to_string(wants);
        fits = fits && buffer_.shape[axis++] == wants;
    }
    if (!fits)
        throw std::invalid_argument(std::string(name_) + " has shape " +
                                    list(buffer_.shape, buffer_.ndim) + "; [" + wanted +
                                    "] was expected");
}

bool Array::overlaps(const Array& other) const {
    const auto* const mine = data<const char>();
    const auto* const theirs = other.data<const char>();
    return mine < theirs + other.buffer_.len && theirs < mine + buffer_.len;
}

}  // namespace cpm
