// Arrays from Python: checked views of their memory, held while the object exists.
#pragma once

#include <Python.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace cpm {

// A C-contiguous, aligned buffer of one element type; anything else raises ValueError.
class Array {
public:
    enum class Access { read, write };

    // `type` is numpy's name: float32, float16, uint16, int8, uint8, int32 or int64.
    Array(PyObject* object, const char* name, const char* type, int dimensions,
          Access access = Access::read);
    ~Array();
    Array(const Array&) = delete;  // Py_buffer can point into itself
    Array& operator=(const Array&) = delete;

    int64_t size(int axis) const { return buffer_.shape[axis]; }
    template <class T>
    T* data() const {
        return static_cast<T*>(buffer_.buf);
    }

    // Raise ValueError if the shape is another.
    void require_shape(std::initializer_list<int64_t> shape) const;
    bool overlaps(const Array& other) const;

private:
    Py_buffer buffer_{};
    const char* name_ = "";
};

}  // namespace cpm
