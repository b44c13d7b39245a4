// Says why, when a process reads a mapped file that has become shorter, which raises SIGBUS.
#pragma once

#include <cstddef>
#include <string>

namespace cpm {

// Write `message` to stderr if SIGBUS comes from these bytes; what the process does with SIGBUS
// does not change. Return the number of the watch, or -1 if there are too many or none are
// possible.
int watch_mapping(const void* start, size_t size, const std::string& message);

void unwatch_mapping(int watch);

}  // namespace cpm
