// Quantization of the rows of x to 16 bits, for products with quantized weights.
//
// q = round(x / scale) with scale = max |x| / MAX_QUANTIZED, one scale a row. MAX_QUANTIZED is
// 127 * 256 + 127, so q can be split into two signed bytes: q = 256 * high + low.
#pragma once

#include "kernels/simd_convert.hpp"
#include "kernels/simd_integer.hpp"

namespace cpm::CPM_ISA {

constexpr float MAX_QUANTIZED = 127 * 256 + 127;

// Return the scale of a row; NaN if a value of the row is not finite.
CPM_INLINE float row_scale(const float* x, int64_t count) {
    u32s magnitudes = {};
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t n = count - i;
        const u32s bits = (u32s)(n < LANES ? load_partial<F32>(x + i, n) : load(x + i));
        const u32s magnitude = bits & 0x7fffffffu;  // ordered as the values are, NaN above all
        magnitudes = magnitude > magnitudes ? magnitude : magnitudes;
    }
    uint32_t bits_max = 0;
    for (int i = 0; i < LANES; ++i) bits_max = magnitudes[i] > bits_max ? magnitudes[i] : bits_max;
    if (bits_max >= 0x7f800000u) return __builtin_nanf("");
    float largest;
    std::memcpy(&largest, &bits_max, sizeof largest);
    return largest < 0x1p-100f ? 0.0f : largest / MAX_QUANTIZED;  // 1 / scale must be finite
}

// Quantize the first `count` values of x, then write zeros up to `size`, a multiple of LANES.
CPM_INLINE void quantize(const float* x, int64_t count, int64_t size, float scale, int16_t* to) {
    const f32s inverse = splat(scale > 0.0f ? 1.0f / scale : 0.0f);
    for (int64_t i = 0; i < size; i += LANES) {
        const int64_t n = count - i;
        const f32s values = n >= LANES ? load(x + i) : load_partial<F32>(x + i, n);
        const i16h rounded = __builtin_convertvector(round_to_i32(values * inverse), i16h);
        std::memcpy(to + i, &rounded, sizeof rounded);
    }
}

// Split 16 values into signed bytes: value = 256 * high + low. Example: 200 is 256 * 1 - 56.
CPM_INLINE void split_bytes(const int16_t* from, uint8_t* high, uint8_t* low) {
    typedef int16_t i16x16 __attribute__((vector_size(32)));
    typedef int8_t i8x16 __attribute__((vector_size(16)));
    i16x16 x;
    std::memcpy(&x, from, sizeof x);
    const i8x16 above = __builtin_convertvector((x + 128) >> 8, i8x16);
    const i8x16 below = __builtin_convertvector(x, i8x16);
    std::memcpy(high, &above, sizeof above);
    std::memcpy(low, &below, sizeof below);
}

// Convert scales of weights from float16 to float32.
CPM_INLINE void convert_scales(const uint16_t* from, int64_t count, float* to) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store(to + i, F16::load(from + i));
    if (i < count) store_partial(to + i, load_partial<F16>(from + i, count - i), count - i);
}

}  // namespace cpm::CPM_ISA
