// The table of the kernels of one instruction set; a table is chosen at run time.
#pragma once

#include "runtime/pool.hpp"
#include "runtime/views.hpp"

namespace cpm {

struct Kernels {
    const char* name;

    // out[R, O] = x[R, K] W + bias, or out += if `add`.
    void (*linear)(Pool&, const float* x, int64_t rows, const Weights&, float* out, bool add);
    // The same for quantized weights; `workspace` has quantized_workspace bytes, aligned to 64.
    void (*linear_quantized)(Pool&, const float* x, int64_t rows, const Weights&, void* workspace,
                             float* out, bool add);
    int64_t (*quantized_workspace)(int64_t rows, const Weights&);
    void (*layer_norm)(Pool&, const float* x, int64_t rows, int64_t width, const float* weight,
                       const float* bias, float epsilon, float* out);
    void (*gelu)(Pool&, float* x, int64_t count, Gelu kind);
    // qkv[T, 3 N H]; stores the new keys and values, then writes out[T, N H].
    void (*attention)(Pool&, const float* qkv, const KVCacheView&, const PathsView&, float scale,
                      float* out);
    void (*embedding)(Pool&, const int32_t* tokens, const int32_t* positions, int64_t rows,
                      const Weights& wte, const Weights& wpe, float* out);
    // Read all of `data` once and return a sum of it, so that no read is optimized away.
    float (*read_all)(Pool&, const float* data, int64_t count);
    // Return the number of floating-point operations; results go to `sink`, one for each thread.
    double (*fma_loop)(Pool&, float* sink);
};

const Kernels& portable_kernels();
#if defined(CPM_HAS_AVX2)
const Kernels& avx2_kernels();
#endif
#if defined(CPM_HAS_AVX512)
const Kernels& avx512_kernels();
#endif
#if defined(CPM_HAS_AMX)
const Kernels& amx_kernels();
#endif

}  // namespace cpm
