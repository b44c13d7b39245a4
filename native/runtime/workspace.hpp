// Memory for one call of a kernel, aligned to a cache line.
#pragma once

#include <cstdint>
#include <new>

namespace cpm {

class Workspace {
public:
    explicit Workspace(int64_t bytes)
        : data_(::operator new(static_cast<size_t>(bytes), std::align_val_t{64})) {}
    ~Workspace() { ::operator delete(data_, std::align_val_t{64}); }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    void* data() const { return data_; }

private:
    void* data_;
};

}  // namespace cpm
