// Ends a long computation early: what a job's own thread asks between two tasks.
#pragma once

#include <atomic>
#include <chrono>

namespace cpm {

// Called by the thread that waits for a job; it throws to end the job.
using InterruptionCheck = void (*)();

inline std::atomic<InterruptionCheck> interruption_check{nullptr};

// The time between two checks: a person does not notice it, and a check is not for nothing.
constexpr std::chrono::milliseconds CHECK_INTERVAL{50};

class Interruption {
public:
    void check() {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_) return;
        next_ = now + CHECK_INTERVAL;
        if (const auto check = interruption_check.load(std::memory_order_relaxed)) check();
    }

private:
    std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + CHECK_INTERVAL;
};

}  // namespace cpm
