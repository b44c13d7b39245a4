// Attention of each new row along its path of slots, head by head.
//
// The new keys and values are stored first. For one row and head: scores in the path's order,
// softmax, and the mix of the values, each sum in the path's order with lanes along the head, so
// that nothing depends on the other rows. A head's slots lie side by side within a chunk, so the
// rows of a call find the keys they share in the cache.
#include "kernels/kernels.hpp"
#include "kernels/simd_convert.hpp"
#include "kernels/simd_exp.hpp"
#include "kernels/simd_shuffle.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t CHUNK_SLOTS = KVCacheView::CHUNK_SLOTS;
constexpr int SUM_VECTORS = 8;  // vectors of a value's numbers that are summed at a time

template <class E>
CPM_INLINE typename E::type* kv_address(const KVCacheView& cache, int64_t part, int64_t head,
                                        int64_t slot) {
    auto* const chunk = static_cast<typename E::type*>(cache.chunks[slot / CHUNK_SLOTS]);
    const int64_t line = (part * cache.heads + head) * CHUNK_SLOTS + slot % CHUNK_SLOTS;
    return chunk + cache.layer_offset + line * cache.padded_head_size;
}

// Ask memory for a slot's numbers.
template <class E>
CPM_INLINE void prefetch_kv(const KVCacheView& cache, int64_t part, int64_t head, int64_t slot) {
    const auto* const at = kv_address<E>(cache, part, head, slot);
    for (int64_t h = 0; h < cache.padded_head_size; h += 64 / static_cast<int64_t>(sizeof *at))
        __builtin_prefetch(at + h);
}

CPM_INLINE void store_kv(float* at, f32s x) { store(at, x); }
CPM_INLINE void store_kv(uint16_t* at, f32s x) { store_f16(at, x); }

template <class E>
void append_kv(const float* from, const KVCacheView& cache, int64_t part, int64_t head,
               int64_t slot) {
    auto* const to = kv_address<E>(cache, part, head, slot);
    for (int64_t h = 0; h < cache.padded_head_size; h += LANES) {
        const int64_t left = cache.head_size - h;
        store_kv(to + h, left >= LANES ? load(from + h) : load_partial<F32>(from + h, left));
    }
}

template <class E>
void append_all_kv(const float* qkv, const KVCacheView& cache, const PathsView& paths,
                   int64_t head) {
    const int64_t width = cache.heads * cache.head_size;
    for (int64_t t = 0; t < paths.rows; ++t) {
        const float* const row = qkv + 3 * t * width + head * cache.head_size;
        const int64_t slot = paths.slots[paths.offsets[t + 1] - 1];
        append_kv<E>(row + width, cache, 0, head, slot);
        append_kv<E>(row + 2 * width, cache, 1, head, slot);
    }
}

// Turn scores into weights in place and return their sum; `count` is a multiple of LANES.
float softmax_numerators(float* scores, int64_t count) {
    f32s top = load(scores), total = zero();
    for (int64_t s = LANES; s < count; s += LANES) top = max(top, load(scores + s));
    const f32s shift = splat(reduce_max(top));
    for (int64_t s = 0; s < count; s += LANES) {
        const f32s weight = exp(load(scores + s) - shift);
        store(scores + s, weight);
        total += weight;
    }
    return reduce_sum(total);
}

// Write the scores of `count` slots, and minus infinity up to a whole vector; return how many that
// makes. The dots of LANES slots are summed together. AHEAD: the next LANES slots' keys are asked
// for.
template <class E, bool PREFETCH>
int64_t qk_scores(const float* query, const KVCacheView& cache, int64_t head, const int32_t* slots,
                  int64_t count, float scale, float* scores) {
    int64_t s = 0;
    for (; s < count; s += LANES) {
        f32s dots[LANES];
        for (int64_t l = 0; l < LANES; ++l) {
            dots[l] = zero();
            if (s + l >= count) continue;
            if (PREFETCH && s + l + LANES < count)
                prefetch_kv<E>(cache, 0, head, slots[s + l + LANES]);
            const auto* const key = kv_address<E>(cache, 0, head, slots[s + l]);
            for (int64_t h = 0; h < cache.padded_head_size; h += LANES)
                dots[l] = fma(load(query + h), E::load(key + h), dots[l]);
        }
        reduce_blocks(dots);
        for (int64_t i = 1; i < LANES / 4; ++i) dots[0] += dots[i];
        store(scores + s, dots[0] * splat(scale));
    }
    for (int64_t i = count; i < s; ++i) scores[i] = -__builtin_inff();
    return s;
}

// mix[V vectors] = the values' numbers from `first` on, each times its weight.
template <class E, int V, bool PREFETCH>
void weighted_sum_v(const float* weights, const KVCacheView& cache, int64_t head,
                    const int32_t* slots, int64_t count, int64_t first, float* sum_v) {
    f32s sums[V];
    for (auto& sum : sums) sum = zero();
    for (int64_t s = 0; s < count; ++s) {
        if (PREFETCH && first == 0 && s + LANES < count)
            prefetch_kv<E>(cache, 1, head, slots[s + LANES]);
        const auto* const value = kv_address<E>(cache, 1, head, slots[s]) + first;
        const f32s weight = splat(weights[s]);
        for (int v = 0; v < V; ++v) sums[v] = fma(weight, E::load(value + v * LANES), sums[v]);
    }
    for (int v = 0; v < V; ++v) store(sum_v + v * LANES, sums[v]);
}

template <class E, int V, bool PREFETCH>
void weighted_sum_v_all(const float* weights, const KVCacheView& cache, int64_t head,
                        const int32_t* slots, int64_t count, int64_t first, float* sum_v) {
    for (; first + V * LANES <= cache.padded_head_size; first += V * LANES)
        weighted_sum_v<E, V, PREFETCH>(weights, cache, head, slots, count, first, sum_v + first);
    if constexpr (V > 1)
        if (first < cache.padded_head_size)
            weighted_sum_v_all<E, V - 1, PREFETCH>(weights, cache, head, slots, count, first,
                                                   sum_v);
}

template <class E, bool PREFETCH>
void attend_row(const float* query, const KVCacheView& cache, int64_t head, const int32_t* slots,
                int64_t count, float scale, float* out, float* scratch) {
    const int64_t padded_head_size = cache.padded_head_size;
    float *const q = scratch, *const sum_v = q + padded_head_size,
                 *const scores = sum_v + padded_head_size;
    std::memset(q, 0, sizeof(float) * static_cast<size_t>(padded_head_size));
    std::memcpy(q, query, sizeof(float) * static_cast<size_t>(cache.head_size));
    const int64_t filled = qk_scores<E, PREFETCH>(q, cache, head, slots, count, scale, scores);
    const float total = softmax_numerators(scores, filled);
    weighted_sum_v_all<E, SUM_VECTORS, PREFETCH>(scores, cache, head, slots, count, 0, sum_v);
    for (int64_t h = 0; h < cache.head_size; ++h) out[h] = sum_v[h] / total;
}

template <class E>
void attend_heads(Pool& pool, const float* qkv, const KVCacheView& cache, const PathsView& paths,
                  float scale, float* out) {
    const int64_t width = cache.heads * cache.head_size;
    parallel_for(pool, cache.heads, 2 * cache.padded_head_size + paths.max_length + LANES,
                 [&](int64_t head, float* scratch) {
        append_all_kv<E>(qkv, cache, paths, head);
        for (int64_t t = 0; t < paths.rows; ++t) {
            const int64_t first = paths.offsets[t];
            // What one row has read, the next finds in the cache.
            (t == 0 ? attend_row<E, true>
                    : attend_row<E, false>)(qkv + 3 * t * width + head * cache.head_size, cache,
                                            head, paths.slots + first, paths.offsets[t + 1] - first,
                                            scale, out + t * width + head * cache.head_size,
                                            scratch);
        }
    });
}

}  // namespace

void attention(Pool& pool, const float* qkv, const KVCacheView& cache, const PathsView& paths,
               float scale, float* out) {
    if (cache.element == Element::f32)
        attend_heads<F32>(pool, qkv, cache, paths, scale, out);
    else
        attend_heads<F16>(pool, qkv, cache, paths, scale, out);
}

}  // namespace cpm::CPM_ISA
