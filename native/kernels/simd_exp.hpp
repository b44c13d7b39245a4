// The exponential function.
#pragma once

#include "kernels/simd.hpp"

namespace cpm::CPM_ISA {

// Return e^x within two units in the last place; 0 below -87, infinity above 88.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, where ln 2 is split in two constants; e^r is a minimax
// polynomial of degree 7; 2^n is added to the exponent. The constants are those of Cephes expf.
CPM_INLINE f32s exp(f32s x) {
    const f32s low = splat(-87.0f), high = splat(88.0f);
    const f32s clamped = x < low ? low : (x > high ? high : x);
    const f32s magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const f32s shifted = fma(clamped, splat(1.44269504f), magic);
    const f32s whole = shifted - magic;
    f32s r = fma(whole, splat(-0.693359375f), clamped);
    r = fma(whole, splat(2.12194440e-4f), r);
    f32s p = splat(1.9875691500e-4f);
    p = fma(p, r, splat(1.3981999507e-3f));
    p = fma(p, r, splat(8.3334519073e-3f));
    p = fma(p, r, splat(4.1665795894e-2f));
    p = fma(p, r, splat(1.6666665459e-1f));
    p = fma(p, r, splat(5.0000001201e-1f));
    p = fma(p, r * r, r) + splat(1.0f);
    const i32s exponent = (i32s)shifted << 23;  // the low bits of `shifted` are n
    const f32s result = (f32s)((i32s)p + exponent);
    return x < low ? zero() : (x > high ? splat(__builtin_inff()) : result);
}

}  // namespace cpm::CPM_ISA
