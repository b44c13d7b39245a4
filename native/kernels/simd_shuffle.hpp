// Shuffles: transposition and reduction of several vectors at once.
#pragma once

#include <utility>

#include "kernels/simd.hpp"

namespace cpm::CPM_ISA {

template <int... J>
using Indices = std::integer_sequence<int, J...>;
using Lanes = std::make_integer_sequence<int, LANES>;

// Swap every second block of S lanes of a with the block of b before it. Example, S = 1:
// a0 a1 a2 a3 and b0 b1 b2 b3 become a0 b0 a2 b2 and a1 b1 a3 b3.
template <int S, class V, int... J>
CPM_INLINE void swap_blocks(V& a, V& b, Indices<J...>) {
    const V low = __builtin_shufflevector(a, b, (J & S ? LANES + J - S : J)...);
    const V high = __builtin_shufflevector(a, b, (J & S ? LANES + J : J + S)...);
    a = low, b = high;
}

// Transpose blocks of S lanes: block i of vector j becomes block j of vector i.
template <int S, class V>
CPM_INLINE void transpose(V* x) {
    constexpr int COUNT = LANES / S;
    if constexpr (COUNT > 1) CPM_UNROLL
        for (int i = 0; i < COUNT; ++i)
            if (!(i & 1)) swap_blocks<S>(x[i], x[i + 1], Lanes{});
    if constexpr (COUNT > 2) CPM_UNROLL
        for (int i = 0; i < COUNT; ++i)
            if (!(i & 2)) swap_blocks<2 * S>(x[i], x[i + 2], Lanes{});
    if constexpr (COUNT > 4) CPM_UNROLL
        for (int i = 0; i < COUNT; ++i)
            if (!(i & 4)) swap_blocks<4 * S>(x[i], x[i + 4], Lanes{});
    if constexpr (COUNT > 8) CPM_UNROLL
        for (int i = 0; i < COUNT; ++i)
            if (!(i & 8)) swap_blocks<8 * S>(x[i], x[i + 8], Lanes{});
}

// In every block of four lanes: a0 + a1, a2 + a3, b0 + b1, b2 + b3.
template <class V, int... J>
CPM_INLINE V horizontal_add(V a, V b, Indices<J...>) {
    return __builtin_shufflevector(a, b, (J / 4 * 4 + (J & 2 ? LANES : 0) + (J & 1) * 2)...) +
           __builtin_shufflevector(a, b, (J / 4 * 4 + (J & 2 ? LANES : 0) + (J & 1) * 2 + 1)...);
}

// Reduce LANES vectors: lane l of the new x[b] is the sum of block b, four lanes, of vector l. The
// sum of the first LANES / 4 results is the sum of each vector.
template <class V>
CPM_INLINE void reduce_blocks(V* x) {
    CPM_UNROLL for (int i = 0; i < LANES / 4; ++i) {
        const V left = horizontal_add(x[4 * i], x[4 * i + 1], Lanes{});
        x[i] = horizontal_add(left, horizontal_add(x[4 * i + 2], x[4 * i + 3], Lanes{}), Lanes{});
    }
    transpose<4>(x);
}

}  // namespace cpm::CPM_ISA
