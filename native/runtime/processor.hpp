// Which instruction sets the processor and the operating system support.
#pragma once

namespace cpm {

// Each is defined only if the kernels of that set are compiled.
bool has_avx2();
bool has_avx512();
bool has_amx();

}  // namespace cpm
