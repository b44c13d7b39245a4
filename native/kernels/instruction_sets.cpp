#include "kernels/instruction_sets.hpp"

#include <cstdlib>

#include "runtime/check.hpp"
#include "runtime/processor.hpp"

namespace cpm {

std::vector<const Kernels*> usable_kernels() {
    std::vector<const Kernels*> usable;
#if defined(CPM_HAS_AMX)
    if (has_amx()) usable.push_back(&amx_kernels());
#endif
#if defined(CPM_HAS_AVX512)
    if (has_avx512()) usable.push_back(&avx512_kernels());
#endif
#if defined(CPM_HAS_AVX2)
    if (has_avx2()) usable.push_back(&avx2_kernels());
#endif
    usable.push_back(&portable_kernels());
    return usable;
}

const Kernels& find_kernels(const std::string& name) {
    std::string known;
    for (const auto* kernels : usable_kernels()) {
        if (name == kernels->name) return *kernels;
        known += (known.empty() ? "" : ", ") + std::string(kernels->name);
    }
    fail("instruction set '" + name + "' is unknown or cannot run here; expected one of " + known);
}

const Kernels& default_kernels() {
    const char* const wanted = std::getenv("CPM_ISA");
    return wanted && *wanted ? find_kernels(wanted) : *usable_kernels().front();
}

}  // namespace cpm
