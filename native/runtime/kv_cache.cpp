#include "runtime/kv_cache.hpp"

#include <new>

namespace cpm {

KVCache::KVCache(int64_t layers, int64_t heads, int64_t head_size, Element element)
    : layers_(layers),
      heads_(heads),
      head_size_(head_size),
      padded_head_size_((head_size + 15) / 16 *
                        16),  // a multiple of LANES of every instruction set
      element_(element) {}

int64_t KVCache::slot_bytes() const {
    return layers_ * 2 * heads_ * padded_head_size_ * element_bytes(element_);
}

void KVCache::reserve(int64_t slots) {
    const std::lock_guard lock(mutex);
    const int64_t needed = (slots + KVCacheView::CHUNK_SLOTS - 1) / KVCacheView::CHUNK_SLOTS;
    std::vector<std::unique_ptr<void, Free>> added;
    for (auto n = static_cast<int64_t>(chunks_.size()); n < needed; ++n) {
        // calloc: the system gives large chunks as zero pages, which take no memory until written.
        void* const chunk = std::calloc(static_cast<size_t>(KVCacheView::CHUNK_SLOTS),
                                        static_cast<size_t>(slot_bytes()));
        if (!chunk) throw std::bad_alloc();
        added.emplace_back(chunk);
    }
    owned_.reserve(owned_.size() + added.size());
    chunks_.reserve(chunks_.size() + added.size());
    for (auto& chunk : added) {
        chunks_.push_back(chunk.get());
        owned_.push_back(std::move(chunk));
    }
    slots_ = static_cast<int64_t>(chunks_.size()) * KVCacheView::CHUNK_SLOTS;
}

KVCacheView KVCache::layer(int64_t layer) const {
    const int64_t size = 2 * heads_ * KVCacheView::CHUNK_SLOTS * padded_head_size_;
    return {chunks_.data(), element_, heads_, head_size_, padded_head_size_, layer * size};
}

}  // namespace cpm
