// Probes of the machine: the bandwidth of reading memory, and the rate of FMAs.
//
//   read_all: for 1 MB: one task; 4 streams; for cache line: prefetch 4 kB ahead, add to a sum
//   fma_loop: each thread: for 2^20 steps: 12 independent FMAs in registers
//
// Software prefetch, since on virtual machines the hardware prefetcher often reaches less. 12
// chains, since that is more than the latency of an FMA times the number of FMA units.
//
// There is no reference in numpy: tests/native/test_pool.py checks that the rates are plausible.
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace cpm::CPM_ISA {

float read_all(Pool& pool, const float* data, int64_t count) {
    constexpr int64_t TASK_FLOATS = int64_t{1} << 18;  // 1 MB
    constexpr int STREAMS = 4;
    constexpr int64_t LINE = 16, PREFETCH_DISTANCE = 64 * LINE;
    float total = 0.0f;
    parallel_for(pool, count / TASK_FLOATS, 0, [&](int64_t task, float*) {
        const float* const from = data + task * TASK_FLOATS;
        f32s sums[STREAMS];
        for (auto& s : sums) s = zero();
        for (int64_t i = 0; i < TASK_FLOATS / STREAMS; i += LINE)
            for (int s = 0; s < STREAMS; ++s) {
                const float* const at = from + s * (TASK_FLOATS / STREAMS) + i;
                __builtin_prefetch(at + PREFETCH_DISTANCE, 0, 2);
                for (int64_t l = 0; l < LINE; l += LANES) sums[s] += load(at + l);
            }
        for (int s = 1; s < STREAMS; ++s) sums[0] += sums[s];
        const float part = reduce_sum(sums[0]);
        if (part != 0.0f) __atomic_store(&total, &part, __ATOMIC_RELAXED);
    });
    return total;
}

double fma_loop(Pool& pool, float* sink) {
    constexpr int64_t STEPS = 1 << 20;
    constexpr int CHAINS = 12;
    parallel_for(pool, pool.threads(), 0, [&](int64_t task, float*) {
        f32s sums[CHAINS];
        for (int c = 0; c < CHAINS; ++c) sums[c] = splat(static_cast<float>(c));
        f32s a = splat(0.999999f), b = splat(1e-6f);
        for (int64_t i = 0; i < STEPS; ++i) {
            for (int c = 0; c < CHAINS; ++c) sums[c] = fma(sums[c], a, b);
        }
        for (int c = 1; c < CHAINS; ++c) sums[0] += sums[c];
        sink[task] = reduce_sum(sums[0]);
    });
    return 2.0 * LANES * CHAINS * static_cast<double>(STEPS) * pool.threads();
}

}  // namespace cpm::CPM_ISA
