// Which instruction sets' kernels this processor can run, and which one is used.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.hpp"

namespace cpm {

// Every set that was compiled and can run here, best first; the portable one is always last.
std::vector<const Kernels*> usable_kernels();

// Return the kernels of that instruction set; std::invalid_argument if they cannot run here.
const Kernels& find_kernels(const std::string& name);

// Return the kernels that the environment variable CPM_ISA names, or else the best.
const Kernels& default_kernels();

}  // namespace cpm
