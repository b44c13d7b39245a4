// Python runs its handlers between two of its own instructions. While a framework is loaded or
// compiles, there can be none for many seconds, with the GIL held: only a handler in C can act.
#include "runtime/stuck.hpp"

#if defined(_WIN32)

namespace cpm {
void end_if_stuck(unsigned, const std::string&) {}
}  // namespace cpm

#else

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <ctime>

namespace cpm {
namespace {

constexpr int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
constexpr long DOUBLE_MILLISECONDS = 100;  // signals this close together are one: DOUBLE_SECONDS
constexpr size_t MAX_WORDS = 64;

struct sigaction previous[sizeof(SIGNALS) / sizeof(int)];
unsigned patience = 0;
char words[MAX_WORDS];
size_t words_size = 0;
std::atomic<int> first_signal{0};
std::atomic<long> first_time{0};

long milliseconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void say_last_words() { (void)!write(STDERR_FILENO, words, words_size); }

void on_alarm(int) {
    say_last_words();
    _exit(128 + first_signal);
}

void on_signal(int number, siginfo_t* info, void* context) {
    int none = 0;
    if (first_signal.compare_exchange_strong(none, number)) {
        first_time = milliseconds();
        alarm(patience);
    } else if (number == SIGINT && milliseconds() - first_time > DOUBLE_MILLISECONDS) {
        say_last_words();
        std::signal(SIGINT, SIG_DFL);
        raise(SIGINT);  // comes when this handler has returned
        return;
    }
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(int); ++i) {
        if (SIGNALS[i] != number) continue;
        if (previous[i].sa_flags & SA_SIGINFO)
            previous[i].sa_sigaction(number, info, context);
        else if (previous[i].sa_handler != SIG_DFL && previous[i].sa_handler != SIG_IGN)
            previous[i].sa_handler(number);
    }
}

}  // namespace

void end_if_stuck(unsigned seconds, const std::string& last_words) {
    patience = seconds;
    words_size = last_words.size() < MAX_WORDS ? last_words.size() : MAX_WORDS;
    std::memcpy(words, last_words.data(), words_size);
    std::signal(SIGALRM, on_alarm);
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(int); ++i) {
        sigaction(SIGNALS[i], nullptr, &previous[i]);
        if (!(previous[i].sa_flags & SA_SIGINFO) && previous[i].sa_handler == SIG_IGN) continue;
        struct sigaction action = previous[i];
        action.sa_sigaction = on_signal;
        action.sa_flags = (action.sa_flags | SA_SIGINFO) & ~SA_RESETHAND;
        if (previous[i].sa_flags & SA_SIGINFO && previous[i].sa_sigaction == on_signal) continue;
        sigaction(SIGNALS[i], &action, nullptr);
    }
}

}  // namespace cpm

#endif
