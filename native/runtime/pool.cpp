#include "runtime/pool.hpp"

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace cpm {
namespace {

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int process() {
#if defined(_WIN32)
    return 0;  // there is no fork
#else
    return static_cast<int>(getpid());
#endif
}

// Python's part between two kernels takes less than this; an idle pool sleeps after it.
constexpr std::chrono::microseconds SPIN{50};

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

// Tasks that follow each other are a thread's own, since what one reads it may ask of memory while
// it is at the task before; who has none left helps the others.
struct alignas(64) Range {
    std::atomic<int64_t> next{0};
    int64_t stop = 0;
};

// The gate counts the threads at work on the open job and numbers the jobs:
// bit 0 open, bits 1 to 11 workers inside, the rest a running number.
constexpr uint32_t OPEN = 1, ONE_INSIDE = 2, INSIDE = 0xffe, NUMBER = 0x1000;

}  // namespace

struct Pool::Crew {
    explicit Crew(int threads)
        : pid(process()),
          scratch(static_cast<size_t>(threads)),
          ranges(static_cast<size_t>(threads)) {
        try {
            for (int i = 1; i < threads; ++i) workers.emplace_back([this, i] { serve(i); });
        } catch (...) {
            halt();
            throw;
        }
    }

    ~Crew() { halt(); }

    void halt() {
        stop = true;
        gate.fetch_add(NUMBER);
        gate.notify_all();
        for (auto& worker : workers) worker.join();
    }

    void share(int thread) {
        float* const own = scratch[static_cast<size_t>(thread)].data();
        for (size_t i = 0; i < ranges.size(); ++i) {
            Range& range = ranges[(static_cast<size_t>(thread) + i) % ranges.size()];
            while (true) {
                const int64_t task = range.next.fetch_add(1, std::memory_order_relaxed);
                if (task >= range.stop) break;
                body(context, task, own);
            }
        }
    }

    void serve(int thread) {
        uint32_t served = 0;
        while (true) {
            uint32_t now = await(served);
            if (stop) return;
            if (!enter(now)) continue;
            served = now & ~(INSIDE | OPEN);
            share(thread);
            gate.fetch_sub(ONE_INSIDE, std::memory_order_release);
        }
    }

    // Return the gate once it is open for a job that this worker has not served.
    uint32_t await(uint32_t served) {
        const auto sleep_at = std::chrono::steady_clock::now() + SPIN;
        while (true) {
            const uint32_t now = gate.load(std::memory_order_acquire);
            if (stop || ((now & OPEN) && (now & ~(INSIDE | OPEN)) != served)) return now;
            if (std::chrono::steady_clock::now() < sleep_at)
                for (int i = 0; i < 8; ++i) pause();
            else
                gate.wait(now, std::memory_order_acquire);
        }
    }

    bool enter(uint32_t& now) {
        const uint32_t job = now & ~INSIDE;
        while ((now & ~INSIDE) == job)
            if (gate.compare_exchange_weak(now, now + ONE_INSIDE, std::memory_order_acquire))
                return true;
        return false;
    }

    void run(int64_t count, Body what, void* with, int64_t scratch_floats) {
        const std::lock_guard lock(turn);
        const bool alone = workers.empty() || count == 1;
        for (size_t i = 0; i < (alone ? 1 : scratch.size()); ++i)
            scratch[i].reserve(scratch_floats);
        body = what, context = with;
        const int64_t parts = alone ? 1 : static_cast<int64_t>(ranges.size());
        int64_t start = 0, part = 0;
        for (Range& range : ranges) {
            range.next.store(start, std::memory_order_relaxed);
            range.stop = start = part < parts ? count * ++part / parts : count;
        }
        if (alone) return share(0);
        gate.fetch_add(NUMBER | OPEN, std::memory_order_release);
        gate.notify_all();
        share(0);
        gate.fetch_and(~OPEN, std::memory_order_relaxed);
        for (int spins = 0; gate.load(std::memory_order_acquire) & INSIDE; ++spins)
            spins < 1000 ? pause() : std::this_thread::yield();
    }

    const int pid;
    std::mutex turn;
    std::vector<Scratch> scratch;
    std::atomic<bool> stop{false};
    alignas(64) std::atomic<uint32_t> gate{0};
    std::vector<Range> ranges;
    Body body = nullptr;
    void* context = nullptr;
    std::vector<std::thread> workers;
};

Pool::Pool(int threads) : threads_(threads), crew_(new Crew(threads)) {}

Pool::~Pool() {
    Crew* crew = crew_.load();
    if (crew->pid == process()) delete crew;
}

// A forked child has none of its parent's threads: it gets a crew of its own, and the memory of
// the old one is left alone, since its locks may be held by threads that do not exist here.
Pool::Crew& Pool::crew() {
    Crew* crew = crew_.load(std::memory_order_acquire);
    if (crew->pid == process()) return *crew;
    auto fresh = std::make_unique<Crew>(threads_);
    if (crew_.compare_exchange_strong(crew, fresh.get())) return *fresh.release();
    return *crew;  // another thread of the child was faster
}

void Pool::run(int64_t tasks, Body body, void* context, int64_t scratch_floats) {
    if (tasks > 0) crew().run(tasks, body, context, scratch_floats);
}

}  // namespace cpm
