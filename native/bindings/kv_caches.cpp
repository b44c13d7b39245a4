// Checks the arguments of KeyValueCache.
#include "bindings/bindings.hpp"
#include "bindings/unlocked.hpp"
#include "runtime/check.hpp"

namespace cpm {

std::unique_ptr<KVCache> make_cache(int64_t layers, int64_t heads, int64_t head_size,
                                    const std::string& element) {
    constexpr int64_t MAX_SIZE = 1 << 16;
    for (const int64_t size : {layers, heads, head_size})
        require(1 <= size && size <= MAX_SIZE,
                "layers, heads and head_size must lie in 1 to 65536");
    const Element kind = parse_element(element);
    require(kind == Element::f32 || kind == Element::f16,
            "element is '" + element + "'; keys and values are kept as f32 or f16");
    return std::make_unique<KVCache>(layers, heads, head_size, kind);
}

void reserve(KVCache& cache, int64_t slots) {
    constexpr int64_t SLOT_LIMIT = int64_t{1} << 31;
    require(0 <= slots && slots < SLOT_LIMIT,
            "slots is " + std::to_string(slots) + "; 0 to 2^31-1 expected");
    const Unlocked unlocked;
    cache.reserve(slots);
}

}  // namespace cpm
