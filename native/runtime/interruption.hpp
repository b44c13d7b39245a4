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

// Call the check if this thread's last one was long ago, also if that was in another job: a
// function may run many short ones.
inline void check_interruption() {
    thread_local std::chrono::steady_clock::time_point next{};
    const auto now = std::chrono::steady_clock::now();
    if (now < next) return;
    next = now + CHECK_INTERVAL;
    if (const auto check = interruption_check.load(std::memory_order_relaxed)) check();
}

}  // namespace cpm
