// The Python module cpm_lm._native: the only file that knows Python objects, with arrays.cpp.
//
// Checks everything a kernel relies on, then lets go of the GIL. Documented in _native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/matrix.hpp"
#include "kernels/kernels.hpp"
#include "runtime/cache.hpp"
#include "runtime/processor.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace cpm {
namespace {

using Access = Array::Access;
constexpr int64_t MOST_THREADS = 1024;

// ---- instruction sets ----

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const auto* kernels : usable_kernels()) names.emplace_back(kernels->name);
    return names;
}

const Kernels& kernels_named(const std::string& name) {
    std::string known;
    for (const auto* kernels : usable_kernels()) {
        if (name == kernels->name) return *kernels;
        known += (known.empty() ? "" : ", ") + std::string(kernels->name);
    }
    refuse("instruction set '" + name + "' is unknown or cannot run here; expected one of " +
           known);
}

std::string instruction_set() {
    const char* const wanted = std::getenv("CPM_ISA");
    return wanted && *wanted ? kernels_named(wanted).name : usable_kernels().front()->name;
}

std::unique_ptr<Pool> make_pool(int64_t threads, std::optional<std::string> isa) {
    need(1 <= threads && threads <= MOST_THREADS,
         "threads is " + std::to_string(threads) + "; 1 to 1024 was expected");
    const Kernels& kernels = kernels_named(isa ? *isa : instruction_set());
    return std::make_unique<Pool>(static_cast<int>(threads), kernels);
}

// ---- what the kernels work on ----

class Paths {
public:
    Paths(nb::handle offsets, nb::handle slots) {
        const Array from(offsets.ptr(), "offsets", "int64", 1);
        const Array seen(slots.ptr(), "slots", "int32", 1);
        need(from.size(0) >= 1, "offsets is empty; a leading 0 was expected");
        const auto *o = from.data<const int64_t>(), *end = o + from.size(0);
        const auto* s = seen.data<const int32_t>();
        need(o[0] == 0 && end[-1] == seen.size(0),
             "offsets runs from " + std::to_string(o[0]) + " to " + std::to_string(end[-1]) +
                 "; 0 to " + std::to_string(seen.size(0)) + ", the length of slots, was expected");
        for (int64_t i = 0; o + i + 1 < end; ++i)
            need(o[i] < o[i + 1], "offsets does not increase after entry " + std::to_string(i));
        offsets_.assign(o, end);
        slots_.assign(s, s + seen.size(0));
        check_slots();
    }
    // The paths that end in these nodes, found by walking up from parent to parent.
    static std::unique_ptr<Paths> walk(nb::handle parents_, nb::handle nodes_) {
        const Array parents(parents_.ptr(), "parents", "int32", 1);
        const Array nodes(nodes_.ptr(), "nodes", "int32", 1);
        const auto* const above = parents.data<const int32_t>();
        auto paths = std::unique_ptr<Paths>(new Paths);
        auto& found = paths->slots_;
        paths->offsets_.push_back(0);
        for (int64_t i = 0; i < nodes.size(0); ++i) {
            const auto start = static_cast<int64_t>(found.size());
            int32_t slot = nodes.data<const int32_t>()[i];
            do {
                if (slot < 0 || slot >= parents.size(0))
                    refuse("a path leads to slot " + std::to_string(slot) + "; there are " +
                           std::to_string(parents.size(0)));
                if (static_cast<int64_t>(found.size()) - start == parents.size(0))
                    refuse("the parents lead in a circle");
                found.push_back(slot);
                slot = above[slot];
            } while (slot >= 0);
            std::reverse(found.begin() + start, found.end());
            paths->offsets_.push_back(static_cast<int64_t>(found.size()));
        }
        paths->check_slots();
        return paths;
    }
    int64_t rows() const { return static_cast<int64_t>(offsets_.size()) - 1; }
    int32_t highest() const { return highest_; }
    PathsView view() const { return {rows(), offsets_.data(), slots_.data(), longest_}; }

private:
    Paths() = default;
    void check_slots() {
        for (const int32_t slot : slots_) {
            if (slot < 0) refuse("slots holds " + std::to_string(slot) + "; slots begin at 0");
            highest_ = std::max(highest_, slot);
        }
        std::vector<int32_t> own;
        for (int64_t i = 0; i < rows(); ++i) {
            const auto stop = offsets_[static_cast<size_t>(i) + 1];
            own.push_back(slots_[static_cast<size_t>(stop) - 1]);
            longest_ = std::max(longest_, stop - offsets_[static_cast<size_t>(i)]);
        }
        std::sort(own.begin(), own.end());
        const auto twice = std::adjacent_find(own.begin(), own.end());
        if (twice != own.end()) refuse("two paths end in slot " + std::to_string(*twice));
    }

    std::vector<int64_t> offsets_;
    std::vector<int32_t> slots_;
    int32_t highest_ = -1;
    int64_t longest_ = 0;
};

std::unique_ptr<Cache> make_cache(int64_t layers, int64_t heads, int64_t head_size,
                                  const std::string& element) {
    constexpr int64_t MOST = 1 << 16;
    for (const int64_t size : {layers, heads, head_size})
        need(1 <= size && size <= MOST, "layers, heads and head_size must lie in 1 to 65536");
    const Element kind = element_named(element);
    need(kind == Element::f32 || kind == Element::f16,
         "element is '" + element + "'; keys and values are kept as f32 or f16");
    return std::make_unique<Cache>(layers, heads, head_size, kind);
}

void reserve(Cache& cache, int64_t slots) {
    constexpr int64_t MOST = int64_t{1} << 31;
    need(0 <= slots && slots < MOST,
         "slots is " + std::to_string(slots) + "; 0 to 2^31-1 expected");
    const nb::gil_scoped_release release;
    cache.reserve(slots);
}

// ---- the kernels ----

// Memory for one call, aligned to a cache line.
class Room {
public:
    explicit Room(int64_t bytes)
        : data_(::operator new(static_cast<size_t>(bytes), std::align_val_t{64})) {}
    ~Room() { ::operator delete(data_, std::align_val_t{64}); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    void* data() const { return data_; }

private:
    void* data_;
};

void linear(Pool& pool, nb::handle x_, const Matrix& matrix, nb::handle out_, bool add) {
    const Array x(x_.ptr(), "x", "float32", 2);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    const Weights& w = matrix.view();
    x.expect({x.size(0), w.inputs});
    out.expect({x.size(0), w.outputs});
    need(!x.overlaps(out), "x and out overlap");
    const nb::gil_scoped_release release;
    float *const from = x.data<float>(), *const to = out.data<float>();
    if (!quantised(w.element)) return pool.kernels().linear(pool, from, x.size(0), w, to, add);
    if (x.size(0) == 0) return;
    const Room room(pool.kernels().quantised_room(x.size(0), w));
    pool.kernels().linear_quantised(pool, from, x.size(0), w, room.data(), to, add);
}

void layer_norm(Pool& pool, nb::handle x_, nb::handle weight_, nb::handle bias_, float epsilon,
                nb::handle out_) {
    const Array x(x_.ptr(), "x", "float32", 2);
    const Array weight(weight_.ptr(), "weight", "float32", 1);
    const Array bias(bias_.ptr(), "bias", "float32", 1);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    const int64_t rows = x.size(0), width = x.size(1);
    need(width > 0, "x has no columns");
    weight.expect({width});
    bias.expect({width});
    out.expect({rows, width});
    need(x.data<float>() == out.data<float>() || !x.overlaps(out), "x and out overlap in part");
    const nb::gil_scoped_release release;
    pool.kernels().layer_norm(pool, x.data<float>(), rows, width, weight.data<float>(),
                              bias.data<float>(), epsilon, out.data<float>());
}

void gelu(Pool& pool, nb::handle x_, const std::string& kind) {
    const Array x(x_.ptr(), "x", "float32", 2, Access::write);
    need(kind == "tanh" || kind == "erf", "kind is '" + kind + "'; tanh or erf was expected");
    const nb::gil_scoped_release release;
    pool.kernels().gelu(pool, x.data<float>(), x.size(0) * x.size(1),
                        kind == "tanh" ? Gelu::tanh : Gelu::erf);
}

void attention(Pool& pool, nb::handle qkv_, Cache& cache, int64_t layer, const Paths& paths,
               float scale, nb::handle out_) {
    const Array qkv(qkv_.ptr(), "qkv", "float32", 2);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    qkv.expect({paths.rows(), 3 * cache.width()});
    out.expect({paths.rows(), cache.width()});
    need(!qkv.overlaps(out), "qkv and out overlap");
    need(0 <= layer && layer < cache.layers(),
         "layer is " + std::to_string(layer) + "; the cache has " + std::to_string(cache.layers()));
    need(paths.highest() < cache.slots(), "the paths name slot " + std::to_string(paths.highest()) +
                                              "; the cache has " + std::to_string(cache.slots()));
    const nb::gil_scoped_release release;
    const std::lock_guard lock(cache.busy);
    pool.kernels().attention(pool, qkv.data<float>(), cache.layer(layer), paths.view(), scale,
                             out.data<float>());
}

void check_rows(const Array& rows, const char* name, const Weights& w) {
    for (int64_t i = 0; i < rows.size(0); ++i)
        if (const auto row = rows.data<int32_t>()[i]; row < 0 || row >= w.outputs)
            refuse(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(row) +
                   "; expected 0 to " + std::to_string(w.outputs - 1));
}

void embedding(Pool& pool, nb::handle tokens_, nb::handle positions_, const Matrix& wte,
               const Matrix& wpe, nb::handle out_) {
    const Array tokens(tokens_.ptr(), "tokens", "int32", 1);
    const Array positions(positions_.ptr(), "positions", "int32", 1);
    const Array out(out_.ptr(), "out", "float32", 2, Access::write);
    need(wte.view().transposed && wpe.view().transposed, "wte and wpe must be given as transposed");
    for (const auto* const table : {&wte, &wpe})
        need(table->view().element != Element::q4, "the rows of a q4 matrix cannot be looked up");
    need(wte.view().inputs == wpe.view().inputs, "wte and wpe have rows of different length");
    positions.expect({tokens.size(0)});
    out.expect({tokens.size(0), wte.view().inputs});
    check_rows(tokens, "tokens", wte.view());
    check_rows(positions, "positions", wpe.view());
    const nb::gil_scoped_release release;
    pool.kernels().embedding(pool, tokens.data<int32_t>(), positions.data<int32_t>(),
                             tokens.size(0), wte.view(), wpe.view(), out.data<float>());
}

// ---- probes ----

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double read_bandwidth(Pool& pool, int64_t size, int64_t rounds) {
    constexpr int64_t UNIT = int64_t{1} << 20;
    need(size >= UNIT && rounds >= 1, "size must be at least 1048576, rounds at least 1");
    const nb::gil_scoped_release release;
    const int64_t bytes = size / UNIT * UNIT, count = bytes / 4;
    const std::vector<float> data(static_cast<size_t>(count), 1.0f);
    double best = 0;
    for (int64_t i = 0; i < rounds; ++i) {
        const auto start = std::chrono::steady_clock::now();
        if (pool.kernels().read_all(pool, data.data(), count) == 0.0f)
            throw std::runtime_error("the memory does not hold what was written");
        best = std::max(best, static_cast<double>(bytes) / seconds_since(start));
    }
    return best;
}

double fma_peak(Pool& pool, int64_t rounds) {
    need(rounds >= 1, "rounds must be at least 1");
    const nb::gil_scoped_release release;
    std::vector<float> sink(static_cast<size_t>(pool.threads()));
    double best = 0;
    for (int64_t i = 0; i < rounds; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const double operations = pool.kernels().multiply_add(pool, sink.data());
        best = std::max(best, operations / seconds_since(start));
    }
    return best;
}

}  // namespace

}  // namespace cpm

using namespace cpm;

NB_MODULE(_native, m) {
    // A process that ends while other libraries hold on to modules is no leak worth a user's
    // notice.
    nb::set_leak_warnings(false);

    m.def("instruction_sets", instruction_sets);
    m.def("instruction_set", instruction_set);

    nb::class_<Pool>(m, "Pool", nb::is_final())
        .def(nb::new_([](int64_t threads, nb::handle isa) {
        return make_pool(threads,
                         isa.is_none() ? std::nullopt : std::optional(nb::cast<std::string>(isa)));
    }),
             "threads"_a, "instruction_set"_a.none() = nb::none())
        .def_prop_ro("threads", &Pool::threads)
        .def_prop_ro("instruction_set", [](const Pool& p) { return p.kernels().name; });

    nb::class_<Matrix>(m, "Matrix", nb::is_final())
        .def(nb::init<nb::handle, const std::string&, bool, nb::handle>(), "values"_a, "element"_a,
             nb::kw_only(), "transposed"_a = false, "bias"_a.none() = nb::none())
        .def_static("quantised", &Matrix::make_quantised, "values"_a, "scales"_a, "element"_a,
                    "inputs"_a, nb::kw_only(), "bias"_a.none() = nb::none())
        .def_prop_ro("nbytes", &Matrix::bytes)
        .def_prop_ro("inputs", [](const Matrix& x) { return x.view().inputs; })
        .def_prop_ro("outputs", [](const Matrix& x) {
        return x.view().outputs;
    }).def_prop_ro("element", [](const Matrix& x) { return name_of(x.view().element); });

    nb::class_<Paths>(m, "Paths", nb::is_final())
        .def(nb::init<nb::handle, nb::handle>(), "offsets"_a, "slots"_a)
        .def_static("walk", &Paths::walk, "parents"_a, "nodes"_a)
        .def("__len__", &Paths::rows);

    nb::class_<Cache>(m, "KeyValueCache", nb::is_final())
        .def(nb::new_(&make_cache), "layers"_a, "heads"_a, "head_size"_a, "element"_a)
        .def_prop_ro("slots", &Cache::slots)
        .def_prop_ro("slot_bytes", &Cache::slot_bytes)
        .def_prop_ro("chunk_slots", [](const Cache&) {
        return CacheView::CHUNK_SLOTS;
    }).def("reserve", reserve, "slots"_a);

    m.def("linear", linear, "pool"_a, "x"_a, "matrix"_a, "out"_a, "add"_a = false);
    m.def("layer_norm", layer_norm, "pool"_a, "x"_a, "weight"_a, "bias"_a, "epsilon"_a, "out"_a);
    m.def("gelu", gelu, "pool"_a, "x"_a, "kind"_a);
    m.def("attention", attention, "pool"_a, "qkv"_a, "cache"_a, "layer"_a, "paths"_a, "scale"_a,
          "out"_a);
    m.def("embedding", embedding, "pool"_a, "tokens"_a, "positions"_a, "wte"_a, "wpe"_a, "out"_a);
    m.def("read_bandwidth", read_bandwidth, "pool"_a, "size"_a, "rounds"_a);
    m.def("fma_peak", fma_peak, "pool"_a, "rounds"_a);
}
