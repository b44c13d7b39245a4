// Attention of each new row to the slots of its path (tree attention).
//
//   for head: one task; a thread runs several       the keys and values of a head lie together
//     for row: append its key and value to the cache
//     for row: the query, the scores and the sums are in scratch, in the L1 cache
//       for LANES slots: scores = scale * (q . k)   LANES dot products end in one vector
//       weights = exp(scores - max), total = their sum
//       for SUM_VECTORS vectors of the head: for slot: sum += weight * v, in registers
//       out = sum / total
//
// Rows of a call share most of their paths. The first row brings the keys and values of a head into
// the caches (64 slots of size 80 are 20 kB in float32), and only it prefetches. Every sum runs
// in the order of the path, so a row's result does not depend on the other rows.
//
// Reference in numpy: `attention` in src/cpm_lm/numpy_ops.py, `exact` in
// tests/native/test_attention.py.
#include "kernels/kernels.hpp"
#include "kernels/simd_convert.hpp"
#include "kernels/simd_exp.hpp"
#include "kernels/simd_shuffle.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t CHUNK_SLOTS = KVCacheView::CHUNK_SLOTS;
constexpr int SUM_VECTORS = 8;           // vectors of a value, and so sums in registers
constexpr int64_t KEYS = 0, VALUES = 1;  // the two parts of a chunk

template <class E>
CPM_INLINE typename E::type* kv_address(const KVCacheView& cache, int64_t part, int64_t head,
                                        int64_t slot) {
    auto* const chunk = static_cast<typename E::type*>(cache.chunks[slot / CHUNK_SLOTS]);
    const int64_t line = (part * cache.heads + head) * CHUNK_SLOTS + slot % CHUNK_SLOTS;
    return chunk + cache.layer_offset + line * cache.padded_head_size;
}

// Prefetch the key or the value of a slot.
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
        append_kv<E>(row + width, cache, KEYS, head, slot);
        append_kv<E>(row + 2 * width, cache, VALUES, head, slot);
    }
}

// Replace the scores by exp(score - max) and return the sum: the softmax before its division.
// `count` is a multiple of LANES.
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

// Write the scores of `count` slots, then minus infinity up to a whole vector; return the number of
// scores written. The dot products of LANES slots are reduced together. PREFETCH: prefetch the keys
// of the next LANES slots.
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
                prefetch_kv<E>(cache, KEYS, head, slots[s + l + LANES]);
            const auto* const key = kv_address<E>(cache, KEYS, head, slots[s + l]);
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

// sum_v[V vectors] = sum over the slots of weight * value, from element `first` on.
template <class E, int V, bool PREFETCH>
void weighted_sum_v(const float* weights, const KVCacheView& cache, int64_t head,
                    const int32_t* slots, int64_t count, int64_t first, float* sum_v) {
    f32s sums[V];
    for (auto& sum : sums) sum = zero();
    for (int64_t s = 0; s < count; ++s) {
        if (PREFETCH && first == 0 && s + LANES < count)
            prefetch_kv<E>(cache, VALUES, head, slots[s + LANES]);
        const auto* const value = kv_address<E>(cache, VALUES, head, slots[s]) + first;
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
            // The other rows find the keys and values of the first in the cache.
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
