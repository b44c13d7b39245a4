// Makes Paths from numpy arrays.
#include <span>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"

namespace cpm {
namespace {

template <class T>
std::span<const T> span_of(const Array& array) {
    return {array.data<const T>(), static_cast<size_t>(array.size(0))};
}

}  // namespace

std::unique_ptr<Paths> make_paths(nb::handle offsets_, nb::handle slots_) {
    const Array offsets(offsets_.ptr(), "offsets", "int64", 1);
    const Array slots(slots_.ptr(), "slots", "int32", 1);
    return std::make_unique<Paths>(span_of<int64_t>(offsets), span_of<int32_t>(slots));
}

std::unique_ptr<Paths> walk_paths(nb::handle parents_, nb::handle nodes_) {
    const Array parents(parents_.ptr(), "parents", "int32", 1);
    const Array nodes(nodes_.ptr(), "nodes", "int32", 1);
    return std::make_unique<Paths>(Paths::walk(span_of<int32_t>(parents), span_of<int32_t>(nodes)));
}

}  // namespace cpm
