// Caches of keys and values: their sizes checked.
#include "bindings/bindings.hpp"
#include "runtime/check.hpp"

namespace cpm {

std::unique_ptr<Cache> make_cache(int64_t layers, int64_t heads, int64_t head_size,
                                  const std::string& element) {
    constexpr int64_t MOST = 1 << 16;
    for (const int64_t size : {layers, heads, head_size})
        need(1 <= size && size <= MOST, "layers, heads and head_size must lie in 1 to 65536");
    const Element kind = element_named(element);
    need(kind == Element::f32 || kind == Element::f16,
         "element is '" + element + "'; keys and values are kept as f32 or f16");
    return std::make_unique<Cache>(layers, heads, head_size, kind);
}

void reserve(Cache& cache, int64_t slots) {
    constexpr int64_t MOST = int64_t{1} << 31;
    need(0 <= slots && slots < MOST,
         "slots is " + std::to_string(slots) + "; 0 to 2^31-1 expected");
    const nb::gil_scoped_release release;
    cache.reserve(slots);
}

}  // namespace cpm
