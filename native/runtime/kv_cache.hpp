// The KV cache: memory in chunks, which are added and never moved.
#pragma once

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/views.hpp"

namespace cpm {

class KVCache {
public:
    KVCache(int64_t layers, int64_t heads, int64_t head_size, Element element);

    int64_t layers() const { return layers_; }
    int64_t width() const { return heads_ * head_size_; }
    int64_t slots() const { return slots_; }
    int64_t slot_bytes() const;
    int64_t chunk_slots() const { return KVCacheView::CHUNK_SLOTS; }

    // Allocate memory for at least `slots`. On std::bad_alloc the cache is unchanged.
    void reserve(int64_t slots);

    // The view of one layer for a kernel; valid while `mutex` is held.
    KVCacheView layer(int64_t layer) const;
    std::mutex mutex;

private:
    struct Free {
        void operator()(void* chunk) const { std::free(chunk); }
    };
    const int64_t layers_, heads_, head_size_, padded_head_size_;
    const Element element_;
    std::atomic<int64_t> slots_{0};
    std::vector<std::unique_ptr<void, Free>> owned_;
    std::vector<void*> chunks_;
};

}  // namespace cpm
