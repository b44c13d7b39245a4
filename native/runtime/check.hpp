// Errors about what a caller passed; Python sees them as ValueError.
#pragma once

#include <stdexcept>
#include <string>

namespace cpm {

[[noreturn]] inline void fail(const std::string& why) { throw std::invalid_argument(why); }

inline void require(bool holds, const std::string& why) {
    if (!holds) fail(why);
}

}  // namespace cpm
