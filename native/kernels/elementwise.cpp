// Layer norm, GELU and embedding: rows or elements that do not depend on each other.
//
//   for rows of 16384 elements in all: one task      64 kB, so a task outweighs its start
//     for row: layer norm reads it three times (mean, variance, result) from the L1 cache;
//              an embedding adds two rows
//   GELU: for 16384 elements: one task; for vector: load, compute, store
//
// Reference in numpy: `layer_norm`, `gelu_tanh` and `gelu_erf` in src/cpm_lm/numpy_ops.py,
// tests/native/test_elementwise.py.
#include <math.h>

#include "kernels/kernels.hpp"
#include "kernels/simd_convert.hpp"
#include "kernels/simd_exp.hpp"

namespace cpm::CPM_ISA {
namespace {

constexpr int64_t TASK_ELEMENTS = 16384;  // enough work for a thread

// Call visit(index, vector, elements) for every vector of x; the last has zeros beyond the end.
template <class Visit>
CPM_INLINE void for_each_vector(const float* x, int64_t count, Visit visit) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) visit(i, load(x + i), LANES);
    if (i < count) visit(i, load_partial<F32>(x + i, count - i), count - i);
}

CPM_INLINE void store_n(float* at, f32s x, int64_t n) {
    n == LANES ? store(at, x) : store_partial(at, x, n);
}

CPM_INLINE f32s load_n(const float* at, int64_t n) {
    return n == LANES ? load(at) : load_partial<F32>(at, n);
}

void normalize_row(const float* x, int64_t width, const float* weight, const float* bias,
                   float epsilon, float* out) {
    f32s total = zero(), squares = zero();
    for_each_vector(x, width,
                    [&](int64_t, f32s v, int64_t) __attribute__((always_inline)) { total += v; });
    const float mean = reduce_sum(total) / static_cast<float>(width);
    for_each_vector(x, width, [&](int64_t, f32s v, int64_t n) __attribute__((always_inline)) {
        f32s centered = v - splat(mean);
        for (int64_t i = n; i < LANES; ++i) centered[i] = 0.0f;
        squares = fma(centered, centered, squares);
    });
    const float variance = reduce_sum(squares) / static_cast<float>(width);
    const f32s factor = splat(1.0f / __builtin_sqrtf(variance + epsilon));
    for_each_vector(x, width, [&](int64_t i, f32s v, int64_t n) __attribute__((always_inline)) {
        const f32s normalized = (v - splat(mean)) * factor;
        store_n(out + i, fma(normalized, load_n(weight + i, n), load_n(bias + i, n)), n);
    });
}

// 0.5 x (1 + tanh u) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3).
CPM_INLINE f32s gelu_tanh(f32s x) {
    const f32s u = x * fma(x * x, splat(0.7978845608f * 0.044715f), splat(0.7978845608f));
    return x / (splat(1.0f) + exp(splat(-2.0f) * u));
}

CPM_INLINE f32s gelu_erf(f32s x) {
    f32s result;
    for (int i = 0; i < LANES; ++i) result[i] = 0.5f * x[i] * (1.0f + ::erff(x[i] * 0.70710678f));
    return result;
}

template <class Function>
void map_elements(Pool& pool, float* x, int64_t count, Function function) {
    parallel_for(pool, (count + TASK_ELEMENTS - 1) / TASK_ELEMENTS, 0, [&](int64_t task, float*) {
        float* const from = x + task * TASK_ELEMENTS;
        const int64_t left = count - task * TASK_ELEMENTS;
        for_each_vector(from, left < TASK_ELEMENTS ? left : TASK_ELEMENTS,
                        [&](int64_t i, f32s v, int64_t n) { store_n(from + i, function(v), n); });
    });
}

template <class E>
CPM_INLINE void add_row(const void* values, int64_t row, int64_t width, float* out, bool first) {
    const auto* from = static_cast<const typename E::type*>(values) + row * width;
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        const f32s v = E::load(from + d);
        store(out + d, first ? v : load(out + d) + v);
    }
    if (const int64_t n = width - d; n > 0) {
        const f32s v = load_partial<E>(from + d, n);
        store_partial(out + d, first ? v : load_partial<F32>(out + d, n) + v, n);
    }
}

void add_row_q8(const Weights& w, int64_t row, float* out, bool first) {
    const auto* const from = static_cast<const int8_t*>(w.values) + row * w.padded_inputs;
    const auto* const scales = w.scales + row * (w.padded_inputs / GROUP_Q8);
    for (int64_t d = 0; d < w.inputs; ++d) {
        const float scale = load_partial<F16>(scales + d / GROUP_Q8, 1)[0];
        out[d] = static_cast<float>(from[d]) * scale + (first ? 0.0f : out[d]);
    }
}

void add_embedding_row(const Weights& w, int64_t row, float* out, bool first) {
    switch (w.element) {
        case Element::f32: return add_row<F32>(w.values, row, w.inputs, out, first);
        case Element::f16: return add_row<F16>(w.values, row, w.inputs, out, first);
        case Element::bf16: return add_row<BF16>(w.values, row, w.inputs, out, first);
        case Element::q8: return add_row_q8(w, row, out, first);
        case Element::q4: return;  // refused before
    }
}

}  // namespace

void layer_norm(Pool& pool, const float* x, int64_t rows, int64_t width, const float* weight,
                const float* bias, float epsilon, float* out) {
    const int64_t rows_per_task = TASK_ELEMENTS / width + 1;
    parallel_for(pool, (rows + rows_per_task - 1) / rows_per_task, 0, [&](int64_t task, float*) {
        for (int64_t r = task * rows_per_task; r < rows && r < (task + 1) * rows_per_task; ++r)
            normalize_row(x + r * width, width, weight, bias, epsilon, out + r * width);
    });
}

void gelu(Pool& pool, float* x, int64_t count, Gelu kind) {
    switch (kind) {
        case Gelu::tanh: return map_elements(pool, x, count, [](f32s v) { return gelu_tanh(v); });
        case Gelu::erf: return map_elements(pool, x, count, [](f32s v) { return gelu_erf(v); });
    }
}

void embedding(Pool& pool, const int32_t* tokens, const int32_t* positions, int64_t rows,
               const Weights& wte, const Weights& wpe, float* out) {
    const int64_t rows_per_task = TASK_ELEMENTS / wte.inputs + 1;
    parallel_for(pool, (rows + rows_per_task - 1) / rows_per_task, 0, [&](int64_t task, float*) {
        for (int64_t r = task * rows_per_task; r < rows && r < (task + 1) * rows_per_task; ++r) {
            add_embedding_row(wte, tokens[r], out + r * wte.inputs, true);
            add_embedding_row(wpe, positions[r], out + r * wte.inputs, false);
        }
    });
}

}  // namespace cpm::CPM_ISA
