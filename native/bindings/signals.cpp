// Checks the arguments of watch_mapping, unwatch_mapping and end_if_stuck.
#include <Python.h>

#include "bindings/bindings.hpp"
#include "runtime/check.hpp"
#include "runtime/mapping_watch.hpp"
#include "runtime/stuck.hpp"

namespace cpm {

int watch_mapped(nb::handle mapped, const std::string& message) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(mapped.ptr(), &buffer, PyBUF_SIMPLE) != 0) throw nb::python_error();
    const int watch = watch_mapping(buffer.buf, static_cast<size_t>(buffer.len), message);
    PyBuffer_Release(&buffer);
    return watch;
}

void end_stuck_process(int64_t seconds, const std::string& last_words) {
    require(1 <= seconds && seconds <= 3600,
            "seconds is " + std::to_string(seconds) + "; 1 to 3600 was expected");
    end_if_stuck(static_cast<unsigned>(seconds), last_words);
}

}  // namespace cpm
