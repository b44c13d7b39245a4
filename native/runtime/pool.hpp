// A thread pool: runs the tasks of one job at a time.
//
// Knows tasks and scratch memory; does not know what is computed. Jobs of several callers run one
// after the other. A job ends when its tasks are done and does not wait for workers that have not
// woken up: they find it closed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace cpm {

class Pool {
public:
    using Body = void (*)(void* context, int64_t task, float* scratch);

    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return threads_; }

    // Call body(context, 0 .. tasks-1, scratch) once each, on any thread and in any order.
    // The scratch of each thread has `scratch_floats` floats, aligned to 64 bytes. If the check of
    // interruption.hpp throws, on the calling thread, the tasks not begun are left out.
    void run(int64_t tasks, Body body, void* context, int64_t scratch_floats);

private:
    struct Workers;
    Workers& workers();

    const int threads_;
    std::atomic<Workers*> workers_;
};

// Call work(task, scratch) for every task.
template <class Work>
void parallel_for(Pool& pool, int64_t tasks, int64_t scratch_floats, Work work) {
    pool.run(tasks, [](void* context, int64_t task, float* scratch) {
        (*static_cast<Work*>(context))(task, scratch);
    }, &work, scratch_floats);
}

}  // namespace cpm
