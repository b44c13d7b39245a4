// Checks the arguments of Pool.
#include <nanobind/stl/string.h>

#include "bindings/bindings.hpp"
#include "kernels/instruction_sets.hpp"
#include "runtime/check.hpp"

namespace cpm {

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const auto* kernels : usable_kernels()) names.emplace_back(kernels->name);
    return names;
}

std::string instruction_set() { return default_kernels().name; }

std::unique_ptr<KernelPool> make_pool(int64_t threads, nb::handle instruction_set) {
    constexpr int64_t MAX_THREADS = 1024;
    require(1 <= threads && threads <= MAX_THREADS,
            "threads is " + std::to_string(threads) + "; 1 to 1024 was expected");
    const Kernels& kernels = instruction_set.is_none()
                                 ? default_kernels()
                                 : find_kernels(nb::cast<std::string>(instruction_set));
    return std::make_unique<KernelPool>(static_cast<int>(threads), kernels);
}

}  // namespace cpm
