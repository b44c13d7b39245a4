// Calls of kernels from Python: check the arguments, release the GIL, run the kernel.
#include <mutex>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/unlocked.hpp"
#include "runtime/check.hpp"
#include "runtime/workspace.hpp"

namespace cpm {
namespace {

using Access = Array::Access;

void check_ids(const Array& rows, const char* name, const Weights& w) {
    for (int64_t i = 0; i < rows.size(0); ++i)
        if (const auto row = rows.data<int32_t>()[i]; row < 0 || row >= w.outputs)
            fail(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(row) +
                 "; expected 0 to " + std::to_string(w.outputs - 1));
}

}  // namespace

void linear(KernelPool& pool, nb::handle x_, const Matrix& matrix, nb::handle out_, bool add) {
    const Array x(x_.ptr(), "x", "float32", 2);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    const Weights& w = matrix.view();
    x.require_shape({x.size(0), w.inputs});
    out.require_shape({x.size(0), w.outputs});
    require(!x.overlaps(out), "x and out overlap");
    const Unlocked unlocked;
    float *const x_data = x.data<float>(), *const out_data = out.data<float>();
    if (!is_quantized(w.element))
        return pool.kernels.linear(pool.pool, x_data, x.size(0), w, out_data, add);
    if (x.size(0) == 0) return;
    const Workspace workspace(pool.kernels.quantized_workspace(x.size(0), w));
    pool.kernels.linear_quantized(pool.pool, x_data, x.size(0), w, workspace.data(), out_data, add);
}

void layer_norm(KernelPool& pool, nb::handle x_, nb::handle weight_, nb::handle bias_,
                float epsilon, nb::handle out_) {
    const Array x(x_.ptr(), "x", "float32", 2);
    const Array weight(weight_.ptr(), "weight", "float32", 1);
    const Array bias(bias_.ptr(), "bias", "float32", 1);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    const int64_t rows = x.size(0), width = x.size(1);
    require(width > 0, "x has no columns");
    weight.require_shape({width});
    bias.require_shape({width});
    out.require_shape({rows, width});
    require(x.data<float>() == out.data<float>() || !x.overlaps(out), "x and out overlap in part");
    const Unlocked unlocked;
    pool.kernels.layer_norm(pool.pool, x.data<float>(), rows, width, weight.data<float>(),
                            bias.data<float>(), epsilon, out.data<float>());
}

void gelu(KernelPool& pool, nb::handle x_, const std::string& kind) {
    const Array x(x_.ptr(), "x", "float32", 2, Access::write);
    require(kind == "tanh" || kind == "erf", "kind is '" + kind + "'; tanh or erf was expected");
    const Unlocked unlocked;
    pool.kernels.gelu(pool.pool, x.data<float>(), x.size(0) * x.size(1),
                      kind == "tanh" ? Gelu::tanh : Gelu::erf);
}

void attention(KernelPool& pool, nb::handle qkv_, KVCache& cache, int64_t layer, const Paths& paths,
               float scale, nb::handle out_) {
    const Array qkv(qkv_.ptr(), "qkv", "float32", 2);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    qkv.require_shape({paths.rows(), 3 * cache.width()});
    out.require_shape({paths.rows(), cache.width()});
    require(!qkv.overlaps(out), "qkv and out overlap");
    require(
        0 <= layer && layer < cache.layers(),
        "layer is " + std::to_string(layer) + "; the cache has " + std::to_string(cache.layers()));
    require(paths.max_slot() < cache.slots(),
            "the paths name slot " + std::to_string(paths.max_slot()) + "; the cache has " +
                std::to_string(cache.slots()));
    const Unlocked unlocked;
    const std::lock_guard lock(cache.mutex);
    pool.kernels.attention(pool.pool, qkv.data<float>(), cache.layer(layer), paths.view(), scale,
                           out.data<float>());
}

void embedding(KernelPool& pool, nb::handle tokens_, nb::handle positions_, const Matrix& wte,
               const Matrix& wpe, nb::handle out_) {
    const Array tokens(tokens_.ptr(), "tokens", "int32", 1);
    const Array positions(positions_.ptr(), "positions", "int32", 1);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    require(wte.view().transposed && wpe.view().transposed,
            "wte and wpe must be given as transposed");
    for (const auto* const table : {&wte, &wpe})
        require(table->view().element != Element::q4,
                "the rows of a q4 matrix cannot be looked up");
    require(wte.view().inputs == wpe.view().inputs, "wte and wpe have rows of different length");
    positions.require_shape({tokens.size(0)});
    out.require_shape({tokens.size(0), wte.view().inputs});
    check_ids(tokens, "tokens", wte.view());
    check_ids(positions, "positions", wpe.view());
    const Unlocked unlocked;
    pool.kernels.embedding(pool.pool, tokens.data<int32_t>(), positions.data<int32_t>(),
                           tokens.size(0), wte.view(), wpe.view(), out.data<float>());
}

}  // namespace cpm
