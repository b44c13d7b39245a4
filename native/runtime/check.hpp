// Errors about what a caller passed; Python sees them as ValueError.
#pragma once

#include <stdexcept>
#include <string>

namespace cpm {

[[noreturn]] inline void refuse(const std::string& why) { throw std::invalid_argument(why); }

inline void need(bool holds, const std::string& why) {
    if (!holds) refuse(why);
}

}  // namespace cpm
