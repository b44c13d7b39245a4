#include "runtime/kv_cache.hpp"

#include <new>

namespace cpm {

Cache::Cache(int64_t layers, int64_t heads, int64_t head_size, Element element)
    : layers_(layers),
      heads_(heads),
      head_size_(head_size),
      padded_((head_size + 15) / 16 * 16),  // whole vectors of every instruction set
      element_(element) {}

int64_t Cache::slot_bytes() const {
    return layers_ * 2 * heads_ * padded_ * element_bytes(element_);
}

void Cache::reserve(int64_t slots) {
    const std::lock_guard lock(busy);
    const int64_t needed = (slots + CacheView::CHUNK_SLOTS - 1) / CacheView::CHUNK_SLOTS;
    std::vector<std::unique_ptr<void, Free>> fresh;
    for (auto n = static_cast<int64_t>(chunks_.size()); n < needed; ++n) {
        // calloc: large chunks come as untouched zero pages and cost nothing before they are used.
        void* const chunk = std::calloc(static_cast<size_t>(CacheView::CHUNK_SLOTS),
                                        static_cast<size_t>(slot_bytes()));
        if (!chunk) throw std::bad_alloc();
        fresh.emplace_back(chunk);
    }
    owned_.reserve(owned_.size() + fresh.size());
    chunks_.reserve(chunks_.size() + fresh.size());
    for (auto& chunk : fresh) {
        chunks_.push_back(chunk.get());
        owned_.push_back(std::move(chunk));
    }
    slots_ = static_cast<int64_t>(chunks_.size()) * CacheView::CHUNK_SLOTS;
}

CacheView Cache::layer(int64_t layer) const {
    const int64_t size = 2 * heads_ * CacheView::CHUNK_SLOTS * padded_;
    return {chunks_.data(), element_, heads_, head_size_, padded_, layer * size};
}

}  // namespace cpm
