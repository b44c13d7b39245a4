// Times the probes of kernels/probes.cpp.
#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "bindings/bindings.hpp"
#include "bindings/unlocked.hpp"
#include "runtime/check.hpp"

namespace cpm {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double read_bandwidth(KernelPool& pool, int64_t size, int64_t rounds) {
    constexpr int64_t UNIT = int64_t{1} << 20;
    require(size >= UNIT && rounds >= 1, "size must be at least 1048576, rounds at least 1");
    const Unlocked unlocked;
    const int64_t bytes = size / UNIT * UNIT, count = bytes / 4;
    const std::vector<float> data(static_cast<size_t>(count), 1.0f);
    double best = 0;
    for (int64_t i = 0; i < rounds; ++i) {
        const auto start = std::chrono::steady_clock::now();
        if (pool.kernels.read_all(pool.pool, data.data(), count) == 0.0f)
            throw std::runtime_error("the memory does not hold what was written");
        best = std::max(best, static_cast<double>(bytes) / seconds_since(start));
    }
    return best;
}

double fma_peak(KernelPool& pool, int64_t rounds) {
    require(rounds >= 1, "rounds must be at least 1");
    const Unlocked unlocked;
    std::vector<float> sink(static_cast<size_t>(pool.pool.threads()));
    double best = 0;
    for (int64_t i = 0; i < rounds; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const double operations = pool.kernels.fma_loop(pool.pool, sink.data());
        best = std::max(best, operations / seconds_since(start));
    }
    return best;
}

}  // namespace cpm
