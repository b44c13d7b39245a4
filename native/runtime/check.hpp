// Errors in arguments: std::invalid_argument, which is ValueError in Python.
#pragma once

#include <stdexcept>
#include <string>

namespace cpm {

[[noreturn]] inline void fail(const std::string& why) { throw std::invalid_argument(why); }

inline void require(bool holds, const std::string& why) {
    if (!holds) fail(why);
}

}  // namespace cpm
