// The slots that each new token attends to: from the root of its path to the token itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/views.hpp"

namespace cpm {

class Paths {
public:
    // Path i is slots[offsets[i] .. offsets[i + 1]].
    Paths(std::span<const int64_t> offsets, std::span<const int32_t> slots);

    // The paths that end in `nodes`, found by following the parents; the parent of a root is
    // negative.
    static Paths walk(std::span<const int32_t> parents, std::span<const int32_t> nodes);

    int64_t rows() const { return static_cast<int64_t>(offsets_.size()) - 1; }
    int32_t max_slot() const { return max_slot_; }
    PathsView view() const { return {rows(), offsets_.data(), slots_.data(), max_length_}; }

private:
    Paths() = default;
    void check_slots();

    std::vector<int64_t> offsets_;
    std::vector<int32_t> slots_;
    int32_t max_slot_ = -1;
    int64_t max_length_ = 0;
};

}  // namespace cpm
