#include "processor.hpp"

#if defined(CPM_HAS_AVX2)
#include <cpuid.h>
#endif

namespace cpm {
namespace {

#if defined(CPM_HAS_AVX2)
// Intel's manual, volume 1, 14.7.1: the processor has the instructions, and the system (OSXSAVE,
// XCR0) keeps the upper halves of the registers when it switches threads.
bool has_avx2() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    constexpr unsigned FMA = 1u << 12, OSXSAVE = 1u << 27, AVX = 1u << 28, F16C = 1u << 29;
    constexpr unsigned needed = FMA | OSXSAVE | AVX | F16C;
    if ((c & needed) != needed) return false;
    unsigned low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 5));
}
#endif

}  // namespace

std::vector<const Kernels*> usable_kernels() {
    std::vector<const Kernels*> usable;
#if defined(CPM_HAS_AVX2)
    if (has_avx2()) usable.push_back(&avx2_kernels());
#endif
    usable.push_back(&portable_kernels());
    return usable;
}

}  // namespace cpm
