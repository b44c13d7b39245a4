#include "runtime/paths.hpp"

#include <algorithm>
#include <string>

#include "runtime/check.hpp"

namespace cpm {

Paths::Paths(std::span<const int64_t> offsets, std::span<const int32_t> slots)
    : offsets_(offsets.begin(), offsets.end()), slots_(slots.begin(), slots.end()) {
    require(!offsets.empty(), "offsets is empty; a leading 0 was expected");
    require(offsets.front() == 0 && offsets.back() == static_cast<int64_t>(slots.size()),
            "offsets runs from " + std::to_string(offsets.front()) + " to " +
                std::to_string(offsets.back()) + "; 0 to " + std::to_string(slots.size()) +
                ", the length of slots, was expected");
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
        require(offsets[i] < offsets[i + 1],
                "offsets does not increase after entry " + std::to_string(i));
    check_slots();
}

Paths Paths::walk(std::span<const int32_t> parents, std::span<const int32_t> nodes) {
    const auto count = static_cast<int64_t>(parents.size());
    Paths paths;
    auto& slots = paths.slots_;
    paths.offsets_.push_back(0);
    for (int32_t slot : nodes) {
        const auto start = static_cast<int64_t>(slots.size());
        do {
            if (slot < 0 || slot >= count)
                fail("a path leads to slot " + std::to_string(slot) + "; there are " +
                     std::to_string(count));
            if (static_cast<int64_t>(slots.size()) - start == count)
                fail("the parents form a cycle");
            slots.push_back(slot);
            slot = parents[static_cast<size_t>(slot)];
        } while (slot >= 0);
        std::reverse(slots.begin() + start, slots.end());
        paths.offsets_.push_back(static_cast<int64_t>(slots.size()));
    }
    paths.check_slots();
    return paths;
}

void Paths::check_slots() {
    for (const int32_t slot : slots_) {
        if (slot < 0) fail("slots holds " + std::to_string(slot) + "; slots begin at 0");
        max_slot_ = std::max(max_slot_, slot);
    }
    std::vector<int32_t> own;
    for (int64_t i = 0; i < rows(); ++i) {
        const auto stop = offsets_[static_cast<size_t>(i) + 1];
        own.push_back(slots_[static_cast<size_t>(stop) - 1]);
        max_length_ = std::max(max_length_, stop - offsets_[static_cast<size_t>(i)]);
    }
    std::sort(own.begin(), own.end());
    const auto duplicate = std::adjacent_find(own.begin(), own.end());
    if (duplicate != own.end()) fail("two paths end in slot " + std::to_string(*duplicate));
}

}  // namespace cpm
