// The handler of SIGBUS writes its line, restores the handler that was there before, and returns:
// the instruction faults again, now under that handler. So faulthandler still prints its traceback,
// the handler of a program that embeds Python still runs, and without any the process ends by
// SIGBUS. A fault at another address is not ours and prints nothing.
#include "runtime/mapping_watch.hpp"

#if defined(_WIN32)

namespace cpm {
int watch_mapping(const void*, size_t, const std::string&) { return -1; }
void unwatch_mapping(int) {}
}  // namespace cpm

#else

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>

namespace cpm {
namespace {

constexpr int MAX_WATCHES = 256;
constexpr size_t MAX_MESSAGE = 1024;  // bytes; a longer one is cut

struct Watch {
    std::atomic<uintptr_t> start{0}, end{0};  // end 0: free
    size_t size = 0;
    char message[MAX_MESSAGE];
};

Watch watches[MAX_WATCHES];
std::mutex mutex;  // of those who add; the handler does not take it
struct sigaction previous;
std::atomic<bool> has_spoken{false};

void on_sigbus(int, siginfo_t* info, void*) {
    const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
    const bool is_fault = info->si_code > 0;  // not sent by a process
    for (const Watch& watch : watches)
        if (is_fault && watch.start <= at && at < watch.end && !has_spoken.exchange(true))
            (void)!write(STDERR_FILENO, watch.message, watch.size);
    sigaction(SIGBUS, &previous, nullptr);
    if (!is_fault) raise(SIGBUS);  // comes when this handler has returned
}

bool install_handler() {
    struct sigaction action{};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return sigaction(SIGBUS, &action, &previous) == 0;
}

}  // namespace

int watch_mapping(const void* start, size_t size, const std::string& message) {
    const std::lock_guard lock(mutex);
    static const bool installed = install_handler();
    for (int i = 0; installed && i < MAX_WATCHES; ++i) {
        Watch& watch = watches[i];
        if (watch.end) continue;
        watch.size = message.size() < MAX_MESSAGE ? message.size() : MAX_MESSAGE;
        std::memcpy(watch.message, message.data(), watch.size);
        watch.start = reinterpret_cast<uintptr_t>(start);
        watch.end = watch.start + size;
        return i;
    }
    return -1;
}

void unwatch_mapping(int watch) {
    if (0 <= watch && watch < MAX_WATCHES) watches[watch].end = 0;
}

}  // namespace cpm

#endif
