// Which instructions this processor and its operating system offer.
#pragma once

namespace cpm {

// Defined where the kernels of that set are compiled.
bool has_avx2();
bool has_avx512();
bool has_amx();

}  // namespace cpm
