// What module.cpp binds: functions that check their arguments, release the GIL and call a kernel.
//
// Documented in _native.pyi. An argument that does not fit raises ValueError before any kernel
// runs.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/matrix.hpp"
#include "kernels/kernels.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/paths.hpp"
#include "runtime/pool.hpp"

namespace cpm {

namespace nb = nanobind;

// A pool of threads and the instruction set that its kernels use.
struct KernelPool {
    KernelPool(int threads, const Kernels& kernels) : pool(threads), kernels(kernels) {}
    int threads() const { return pool.threads(); }
    const char* instruction_set() const { return kernels.name; }

    Pool pool;
    const Kernels& kernels;
};

// pools.cpp
std::vector<std::string> instruction_sets();
std::string instruction_set();
std::unique_ptr<KernelPool> make_pool(int64_t threads, nb::handle instruction_set);

// paths.cpp
std::unique_ptr<Paths> make_paths(nb::handle offsets, nb::handle slots);
std::unique_ptr<Paths> walk_paths(nb::handle parents, nb::handle nodes);

// kv_caches.cpp
std::unique_ptr<KVCache> make_cache(int64_t layers, int64_t heads, int64_t head_size,
                                    const std::string& element);
void reserve(KVCache& cache, int64_t slots);

// kernel_calls.cpp
void linear(KernelPool& pool, nb::handle x, const Matrix& matrix, nb::handle out, bool add);
void layer_norm(KernelPool& pool, nb::handle x, nb::handle weight, nb::handle bias, float epsilon,
                nb::handle out);
void gelu(KernelPool& pool, nb::handle x, const std::string& kind);
void attention(KernelPool& pool, nb::handle qkv, KVCache& cache, int64_t layer, const Paths& paths,
               float scale, nb::handle out);
void embedding(KernelPool& pool, nb::handle tokens, nb::handle positions, const Matrix& wte,
               const Matrix& wpe, nb::handle out);

// signals.cpp
int watch_mapped(nb::handle mapped, const std::string& message);
void end_stuck_process(int64_t seconds, const std::string& last_words);

// probes.cpp
double read_bandwidth(KernelPool& pool, int64_t size, int64_t rounds);
double fma_peak(KernelPool& pool, int64_t rounds);

}  // namespace cpm
