// Which instruction sets this processor can run.
#pragma once

#include <vector>

#include "kernels/kernels.hpp"

namespace cpm {

// Every set that was compiled and can run here, best first; the portable one is always last.
std::vector<const Kernels*> usable_kernels();

}  // namespace cpm
