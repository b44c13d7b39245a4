#include "runtime/pool.hpp"

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/interruption.hpp"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace cpm {
namespace {

void cpu_relax() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int process_id() {
#if defined(_WIN32)
    return 0;  // there is no fork
#else
    return static_cast<int>(getpid());
#endif
}

// How long a worker spins before it sleeps: longer than Python takes between two kernels.
constexpr std::chrono::microseconds SPIN_TIME{50};

class Scratch {
public:
    void reserve(int64_t floats) {
        if (floats <= floats_) return;
        memory_.reset(new (std::align_val_t{64}) float[static_cast<size_t>(floats)]);
        floats_ = floats;
    }
    float* data() const { return memory_.get(); }

private:
    struct Free {
        void operator()(float* at) const { ::operator delete[](at, std::align_val_t{64}); }
    };
    std::unique_ptr<float, Free> memory_;
    int64_t floats_ = 0;
};

// A thread's own tasks. They are consecutive, because a kernel prefetches what the next task reads.
// A thread without tasks of its own takes tasks of the other threads.
struct alignas(64) Range {
    std::atomic<int64_t> next{0};
    int64_t stop = 0;
};

// What `next` becomes when a job is given up: beyond any number of tasks.
constexpr int64_t NO_MORE = int64_t{1} << 62;

// job_state: bit 0, the job is open; bits 1 to 11, how many workers run its tasks; the other bits,
// the number of the job.
constexpr uint32_t OPEN = 1, ONE_WORKER = 2, WORKERS_INSIDE = 0xffe, ONE_JOB = 0x1000;

}  // namespace

struct Pool::Workers {
    explicit Workers(int threads)
        : pid(process_id()),
          scratch(static_cast<size_t>(threads)),
          ranges(static_cast<size_t>(threads)) {
        try {
            for (int i = 1; i < threads; ++i) workers.emplace_back([this, i] { worker_loop(i); });
        } catch (...) {
            stop_threads();
            throw;
        }
    }

    ~Workers() { stop_threads(); }

    void stop_threads() {
        stop = true;
        job_state.fetch_add(ONE_JOB);
        job_state.notify_all();
        for (auto& worker : workers) worker.join();
    }

    // `after_task` is called after each task.
    template <class Call>
    void run_tasks(int thread, Call after_task) {
        float* const own = scratch[static_cast<size_t>(thread)].data();
        for (size_t i = 0; i < ranges.size(); ++i) {
            Range& range = ranges[(static_cast<size_t>(thread) + i) % ranges.size()];
            while (true) {
                const int64_t task = range.next.fetch_add(1, std::memory_order_relaxed);
                if (task >= range.stop) break;
                body(context, task, own);
                after_task();
            }
        }
    }

    void worker_loop(int thread) {
        uint32_t last_job = 0;
        while (true) {
            uint32_t now = wait_for_job(last_job);
            if (stop) return;
            if (!join_job(now)) continue;
            last_job = now & ~(WORKERS_INSIDE | OPEN);
            run_tasks(thread, [] {});
            job_state.fetch_sub(ONE_WORKER, std::memory_order_release);
        }
    }

    // Wait for an open job other than the last one, and return the job state.
    uint32_t wait_for_job(uint32_t last_job) {
        const auto sleep_at = std::chrono::steady_clock::now() + SPIN_TIME;
        while (true) {
            const uint32_t now = job_state.load(std::memory_order_acquire);
            if (stop || ((now & OPEN) && (now & ~(WORKERS_INSIDE | OPEN)) != last_job)) return now;
            if (std::chrono::steady_clock::now() < sleep_at)
                for (int i = 0; i < 8; ++i) cpu_relax();
            else
                job_state.wait(now, std::memory_order_acquire);
        }
    }

    // Count this worker in, unless the job has been closed or another one opened.
    bool join_job(uint32_t& now) {
        const uint32_t job = now & ~WORKERS_INSIDE;
        while ((now & ~WORKERS_INSIDE) == job)
            if (job_state.compare_exchange_weak(now, now + ONE_WORKER, std::memory_order_acquire))
                return true;
        return false;
    }

    void run(int64_t count, Body job_body, void* job_context, int64_t scratch_floats) {
        const std::lock_guard lock(job_mutex);
        const bool one_thread = workers.empty() || count == 1;
        for (size_t i = 0; i < (one_thread ? 1 : scratch.size()); ++i)
            scratch[i].reserve(scratch_floats);
        body = job_body, context = job_context;
        const int64_t parts = one_thread ? 1 : static_cast<int64_t>(ranges.size());
        int64_t start = 0, part = 0;
        for (Range& range : ranges) {
            range.next.store(start, std::memory_order_relaxed);
            range.stop = start = part < parts ? count * ++part / parts : count;
        }
        if (one_thread) return run_tasks(0, check_interruption);
        job_state.fetch_add(ONE_JOB | OPEN, std::memory_order_release);
        job_state.notify_all();
        try {
            run_tasks(0, check_interruption);
        } catch (...) {
            for (Range& range : ranges) range.next.store(NO_MORE, std::memory_order_relaxed);
            close_job();
            throw;
        }
        close_job();
    }

    // Wait for the workers that run tasks; those that come later find the job closed.
    void close_job() {
        job_state.fetch_and(~OPEN, std::memory_order_relaxed);
        for (int spins = 0; job_state.load(std::memory_order_acquire) & WORKERS_INSIDE; ++spins)
            spins < 1000 ? cpu_relax() : std::this_thread::yield();
    }

    const int pid;
    std::mutex job_mutex;
    std::vector<Scratch> scratch;
    std::atomic<bool> stop{false};
    alignas(64) std::atomic<uint32_t> job_state{0};
    std::vector<Range> ranges;
    Body body = nullptr;
    void* context = nullptr;
    std::vector<std::thread> workers;
};

Pool::Pool(int threads) : threads_(threads), workers_(new Workers(threads)) {}

Pool::~Pool() {
    Workers* workers = workers_.load();
    if (workers->pid == process_id()) delete workers;
}

// A forked child has no threads of its parent, so it starts its own. The parent's object is neither
// used nor freed: its locks can be held by threads that do not exist in the child. A child that may
// not start threads computes with one: the results are the same.
Pool::Workers& Pool::workers() {
    Workers* workers = workers_.load(std::memory_order_acquire);
    if (workers->pid == process_id()) return *workers;
    std::unique_ptr<Workers> created;
    try {
        created = std::make_unique<Workers>(threads_);
    } catch (const std::system_error&) {
        created = std::make_unique<Workers>(1);
    }
    if (workers_.compare_exchange_strong(workers, created.get())) return *created.release();
    return *workers;  // created by another thread of the child
}

void Pool::run(int64_t tasks, Body body, void* context, int64_t scratch_floats) {
    if (tasks > 0) workers().run(tasks, body, context, scratch_floats);
}

}  // namespace cpm
