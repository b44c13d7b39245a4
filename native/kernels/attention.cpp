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

constexpr int64_t SLOTS = CacheView::CHUNK_SLOTS;
constexpr int TOGETHER = 8;  // vectors of a value's numbers that are summed at a time

template <class E>
CPM_INLINE typename E::type* locate(const CacheView& cache, int64_t part, int64_t head,
                                    int64_t slot) {
    auto* const chunk = static_cast<typename E::type*>(cache.chunks[slot / SLOTS]);
    const int64_t line = (part * cache.heads + head) * SLOTS + slot % SLOTS;
    return chunk + cache.layer_offset + line * cache.padded;
}

// Ask memory for a slot's numbers.
template <class E>
CPM_INLINE void ask(const CacheView& cache, int64_t part, int64_t head, int64_t slot) {
    const auto* const at = locate<E>(cache, part, head, slot);
    for (int64_t h = 0; h < cache.padded; h += 64 / static_cast<int64_t>(sizeof *at))
        __builtin_prefetch(at + h);
}

CPM_INLINE void put(float* at, f32s x) { store(at, x); }
CPM_INLINE void put(uint16_t* at, f32s x) { store_f16(at, x); }

template <class E>
void keep(const float* from, const CacheView& cache, int64_t part, int64_t head, int64_t slot) {
    auto* const to = locate<E>(cache, part, head, slot);
    for (int64_t h = 0; h < cache.padded; h += LANES) {
        const int64_t room = cache.head_size - h;
        put(to + h, room >= LANES ? load(from + h) : load_first<F32>(from + h, room));
    }
}

template <class E>
void keep_all(const float* qkv, const CacheView& cache, const PathsView& paths, int64_t head) {
    const int64_t width = cache.heads * cache.head_size;
    for (int64_t t = 0; t < paths.rows; ++t) {
        const float* const row = qkv + 3 * t * width + head * cache.head_size;
        const int64_t slot = paths.slots[paths.offsets[t + 1] - 1];
        keep<E>(row + width, cache, 0, head, slot);
        keep<E>(row + 2 * width, cache, 1, head, slot);
    }
}

// Turn scores into weights in place and return their sum; `count` is a multiple of LANES.
float soften(float* scores, int64_t count) {
    f32s most = load(scores), total = zero();
    for (int64_t s = LANES; s < count; s += LANES) most = largest(most, load(scores + s));
    const f32s top = splat(largest(most));
    for (int64_t s = 0; s < count; s += LANES) {
        const f32s weight = exponential(load(scores + s) - top);
        store(scores + s, weight);
        total += weight;
    }
    return sum(total);
}

// Write the scores of `count` slots, and minus infinity up to a whole vector; return how many that
// makes. The dots of LANES slots are summed together. AHEAD: the next LANES slots' keys are asked
// for.
template <class E, bool AHEAD>
int64_t compare(const float* query, const CacheView& cache, int64_t head, const int32_t* slots,
                int64_t count, float scale, float* scores) {
    int64_t s = 0;
    for (; s < count; s += LANES) {
        f32s dots[LANES];
        for (int64_t l = 0; l < LANES; ++l) {
            dots[l] = zero();
            if (s + l >= count) continue;
            if (AHEAD && s + l + LANES < count) ask<E>(cache, 0, head, slots[s + l + LANES]);
            const auto* const key = locate<E>(cache, 0, head, slots[s + l]);
            for (int64_t h = 0; h < cache.padded; h += LANES)
                dots[l] = fma(load(query + h), E::load(key + h), dots[l]);
        }
        sum_blocks(dots);
        for (int64_t i = 1; i < LANES / 4; ++i) dots[0] += dots[i];
        store(scores + s, dots[0] * splat(scale));
    }
    for (int64_t none = count; none < s; ++none) scores[none] = -__builtin_inff();
    return s;
}

// mix[V vectors] = the values' numbers from `first` on, each times its weight.
template <class E, int V, bool AHEAD>
void blend(const float* weights, const CacheView& cache, int64_t head, const int32_t* slots,
           int64_t count, int64_t first, float* mix) {
    f32s sums[V];
    for (auto& sum : sums) sum = zero();
    for (int64_t s = 0; s < count; ++s) {
        if (AHEAD && first == 0 && s + LANES < count) ask<E>(cache, 1, head, slots[s + LANES]);
        const auto* const value = locate<E>(cache, 1, head, slots[s]) + first;
        const f32s weight = splat(weights[s]);
        for (int v = 0; v < V; ++v) sums[v] = fma(weight, E::load(value + v * LANES), sums[v]);
    }
    for (int v = 0; v < V; ++v) store(mix + v * LANES, sums[v]);
}

template <class E, int V, bool AHEAD>
void blend_all(const float* weights, const CacheView& cache, int64_t head, const int32_t* slots,
               int64_t count, int64_t first, float* mix) {
    for (; first + V * LANES <= cache.padded; first += V * LANES)
        blend<E, V, AHEAD>(weights, cache, head, slots, count, first, mix + first);
    if constexpr (V > 1)
        if (first < cache.padded)
            blend_all<E, V - 1, AHEAD>(weights, cache, head, slots, count, first, mix);
}

template <class E, bool AHEAD>
void attend(const float* query, const CacheView& cache, int64_t head, const int32_t* slots,
            int64_t count, float scale, float* out, float* scratch) {
    const int64_t padded = cache.padded;
    float *const q = scratch, *const mix = q + padded, *const scores = mix + padded;
    std::memset(q, 0, sizeof(float) * static_cast<size_t>(padded));
    std::memcpy(q, query, sizeof(float) * static_cast<size_t>(cache.head_size));
    const int64_t whole = compare<E, AHEAD>(q, cache, head, slots, count, scale, scores);
    const float total = soften(scores, whole);
    blend_all<E, TOGETHER, AHEAD>(scores, cache, head, slots, count, 0, mix);
    for (int64_t h = 0; h < cache.head_size; ++h) out[h] = mix[h] / total;
}

template <class E>
void attend_all(Pool& pool, const float* qkv, const CacheView& cache, const PathsView& paths,
                float scale, float* out) {
    const int64_t width = cache.heads * cache.head_size;
    parallel(pool, cache.heads, 2 * cache.padded + paths.longest + LANES,
             [&](int64_t head, float* scratch) {
        keep_all<E>(qkv, cache, paths, head);
        for (int64_t t = 0; t < paths.rows; ++t) {
            const int64_t first = paths.offsets[t];
            // What one row has read, the next finds in the cache.
            (t == 0 ? attend<E, true>
                    : attend<E, false>)(qkv + 3 * t * width + head * cache.head_size, cache, head,
                                        paths.slots + first, paths.offsets[t + 1] - first, scale,
                                        out + t * width + head * cache.head_size, scratch);
        }
    });
}

}  // namespace

void attention(Pool& pool, const float* qkv, const CacheView& cache, const PathsView& paths,
               float scale, float* out) {
    if (cache.element == Element::f32)
        attend_all<F32>(pool, qkv, cache, paths, scale, out);
    else
        attend_all<F16>(pool, qkv, cache, paths, scale, out);
}

}  // namespace cpm::CPM_ISA
