// The Python module cpm_lm._native: names, arguments and their defaults.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "bindings/bindings.hpp"
#include "bindings/unlocked.hpp"
#include "runtime/mapping_watch.hpp"

using namespace nanobind::literals;
using namespace cpm;

NB_MODULE(_native, m) {
    // At the end of a process other libraries can still hold references: no warning to the user.
    nb::set_leak_warnings(false);
    set_up_unlocked();

    m.def("instruction_sets", instruction_sets);
    m.def("instruction_set", instruction_set);

    nb::class_<KernelPool>(m, "Pool", nb::is_final())
        .def(nb::new_(&make_pool), "threads"_a, "instruction_set"_a.none() = nb::none())
        .def_prop_ro("threads", &KernelPool::threads)
        .def_prop_ro("instruction_set", &KernelPool::instruction_set);

    nb::class_<Matrix>(m, "Matrix", nb::is_final())
        .def(nb::init<nb::handle, const std::string&, bool, nb::handle>(), "values"_a, "element"_a,
             nb::kw_only(), "transposed"_a = false, "bias"_a.none() = nb::none())
        .def_static("quantized", &Matrix::make_quantized, "values"_a, "scales"_a, "element"_a,
                    "inputs"_a, nb::kw_only(), "bias"_a.none() = nb::none())
        .def_prop_ro("nbytes", &Matrix::bytes)
        .def_prop_ro("inputs", &Matrix::inputs)
        .def_prop_ro("outputs", &Matrix::outputs)
        .def_prop_ro("element", &Matrix::element);

    nb::class_<Paths>(m, "Paths", nb::is_final())
        .def(nb::new_(&make_paths), "offsets"_a, "slots"_a)
        .def_static("walk", walk_paths, "parents"_a, "nodes"_a)
        .def("__len__", &Paths::rows);

    nb::class_<KVCache>(m, "KeyValueCache", nb::is_final())
        .def(nb::new_(&make_cache), "layers"_a, "heads"_a, "head_size"_a, "element"_a)
        .def_prop_ro("slots", &KVCache::slots)
        .def_prop_ro("slot_bytes", &KVCache::slot_bytes)
        .def_prop_ro("chunk_slots", &KVCache::chunk_slots)
        .def("reserve", reserve, "slots"_a);

    m.def("linear", linear, "pool"_a, "x"_a, "matrix"_a, "out"_a, "add"_a = false);
    m.def("layer_norm", layer_norm, "pool"_a, "x"_a, "weight"_a, "bias"_a, "epsilon"_a, "out"_a);
    m.def("gelu", gelu, "pool"_a, "x"_a, "kind"_a);
    m.def("attention", attention, "pool"_a, "qkv"_a, "cache"_a, "layer"_a, "paths"_a, "scale"_a,
          "out"_a);
    m.def("embedding", embedding, "pool"_a, "tokens"_a, "positions"_a, "wte"_a, "wpe"_a, "out"_a);
    m.def("read_bandwidth", read_bandwidth, "pool"_a, "size"_a, "rounds"_a);
    m.def("fma_peak", fma_peak, "pool"_a, "rounds"_a);

    m.def("watch_mapping", watch_mapped, "mapped"_a, "message"_a);
    m.def("unwatch_mapping", unwatch_mapping, "watch"_a);
    m.def("end_if_stuck", end_stuck_process, "seconds"_a, "last_words"_a);
}
