#include "runtime/processor.hpp"

#if defined(CPM_HAS_AVX2)
#include <cpuid.h>
#endif
#if defined(CPM_HAS_AMX)
#include <sys/syscall.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#endif

namespace cpm {

#if defined(CPM_HAS_AVX2)
namespace {

struct Registers {
    unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf) {
    Registers r{};
    __get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d);
    return r;
}

// Whether the system saves these registers when it switches threads: OSXSAVE, then bits of XCR0.
// Source: Intel's manual, volume 1, 13.3.
bool os_saves(unsigned bits) {
    constexpr unsigned OSXSAVE = 1u << 27;
    if (!(cpuid(1).c & OSXSAVE)) return false;
    unsigned low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & bits) == bits;
}

}  // namespace

bool has_avx2() {
    constexpr unsigned FMA = 1u << 12, AVX = 1u << 28, F16C = 1u << 29, AVX2 = 1u << 5;
    constexpr unsigned needed = FMA | AVX | F16C;
    return (cpuid(1).c & needed) == needed && os_saves(0x6) && (cpuid(7).b & AVX2);
}
#endif

#if defined(CPM_HAS_AVX512)
bool has_avx512() {
    constexpr unsigned F = 1u << 16, DQ = 1u << 17, BW = 1u << 30, VL = 1u << 31, VNNI = 1u << 11;
    constexpr unsigned needed = F | DQ | BW | VL;
    const Registers seven = cpuid(7);
    return has_avx2() && os_saves(0xe6) && (seven.b & needed) == needed && (seven.c & VNNI);
}
#endif

#if defined(CPM_HAS_AMX)
namespace {

sigjmp_buf sigill_return;

void on_sigill(int) { siglongjmp(sigill_return, 1); }

// Execute tile instructions and return whether they work: on some virtual machines they fault
// although CPUID reports them.
bool amx_executes() {
    struct sigaction handler{}, previous;
    handler.sa_handler = on_sigill;
    if (sigaction(SIGILL, &handler, &previous)) return false;
    const bool works = sigsetjmp(sigill_return, 1) == 0;
    if (works) {
        alignas(64) unsigned char configuration[64] = {1};
        configuration[16] = 64, configuration[48] = 16;  // tile 0: 16 rows of 64 bytes
        asm volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilerelease" ::"m"(configuration));
    }
    sigaction(SIGILL, &previous, nullptr);
    return works;
}

}  // namespace

// Linux saves tiles only for a process that requests it: Documentation/arch/x86/xstate.
bool has_amx() {
    constexpr unsigned TILE = 1u << 24, INT8 = 1u << 25;
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;
    static const bool has = has_avx512() && (cpuid(7).d & (TILE | INT8)) == (TILE | INT8) &&
                            os_saves(0x60000) && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0 &&
                            amx_executes();
    return has;
}
#endif

}  // namespace cpm
