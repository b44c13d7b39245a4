// The same products as in linear_quantized.cpp, for five rows and more, by the tiles of AMX.
//
//   quantize x to 16 bits, as tiles                          amx_rows.hpp
//   for 256 outputs: one task (64 if there are one or two bands of 16 rows)
//     for 8 bands
//       for block of 512 inputs (2560)      weights 128 kB: L2; activations of a band 16 kB: L1
//         for strip of 16 outputs: unpack q4 to bytes
//         for band: for strip: for group    amx_tile.hpp; 16 x 16 sums in registers
//       write the outputs of the bands
//
// The products of a group are exact, and everything after them is computed as without tiles, so the
// results have the same bits.
//
// Reference in numpy: `rounded` and `expected` in tests/native/test_quantized.py.
#include "kernels/linear_amx.hpp"

#include "kernels/amx_tile.hpp"
#include "kernels/quantized_epilogue.hpp"

#if defined(__AMX_INT8__)

namespace cpm::CPM_ISA {
namespace {

// The outputs of a task, and its scratch memory.
struct AmxTask {
    const Weights& w;
    int64_t first, count;
    float* totals;     // [bands][outputs][16]
    float* scales;     // float32 [outputs][scale_stride]
    int8_t* unpacked;  // [outputs][inputs]: of q4, and of outputs that do not fill a tile
    int64_t strips() const { return ceil_div(count, TILE_SIZE); }
    int64_t scale_stride(const AmxRows& x) const { return ceil_div(x.groups, LANES) * LANES; }
};

// Convert the scales of a task to float32, and prefetch those of the next.
void convert_task_scales(const AmxTask& t, const AmxRows& x) {
    const int64_t scale_stride = t.scale_stride(x), filled = t.strips() * TILE_SIZE;
    for (int64_t o = 0; o < t.count; ++o) {
        const uint16_t* const from = t.w.scales + (t.first + o) * x.groups;
        for (int64_t i = 0; i < x.groups; i += 32)
            __builtin_prefetch(from + t.count * x.groups + i, 0, 2);
        convert_scales(from, x.groups, t.scales + o * scale_stride);
    }
    std::memset(t.scales + t.count * scale_stride, 0,
                sizeof(float) * static_cast<size_t>((filled - t.count) * scale_stride));
}

void unpack_q4(const uint8_t* from, int64_t groups, int8_t* to) {
    typedef uint8_t u8x16 __attribute__((vector_size(16)));
    for (int64_t g = 0; g < groups; ++g, from += 16, to += 32) {
        // A vector type: GCC 12 takes a minute for a loop over bytes, and makes slow code of it.
        u8x16 codes;
        std::memcpy(&codes, from, sizeof codes);
        const u8x16 low = (codes & 15) - 8, high = (codes >> 4) - 8;
        std::memcpy(to, &low, sizeof low);
        std::memcpy(to + 16, &high, sizeof high);
    }
}

// Return groups g .. g + groups of strip s, unpacked if tiles cannot be loaded from W itself.
AmxStrip prepare_strip(const AmxTask& t, const AmxRows& x, int64_t s, int64_t g, int64_t groups) {
    const bool q8 = t.w.element == Element::q8;
    const auto* const values = static_cast<const uint8_t*>(t.w.values);
    const int64_t bytes = q8 ? t.w.padded_inputs : t.w.padded_inputs / 2;
    const int64_t first = t.first + s * TILE_SIZE, left = t.count - s * TILE_SIZE,
                  scale_stride = t.scale_stride(x);
    const float* const scales = t.scales + s * TILE_SIZE * scale_stride + g;
    const uint8_t* const from = values + first * bytes + g * (q8 ? x.group : x.group / 2);
    const bool last =
        g + groups == x.groups;  // of the outputs: the next block belongs to another task
    const uint8_t* const next =
        last ? values + (first + t.count) * bytes : from + groups * (q8 ? x.group : x.group / 2);
    const int64_t line_stride = groups == x.groups ? 64 : bytes, width = x.block.inputs;
    const int line_shift = q8 ? 0 : 2;
    if (q8 && left >= TILE_SIZE)
        return {reinterpret_cast<const int8_t*>(from),
                bytes,
                x.group,
                scales,
                scale_stride,
                next,
                line_stride,
                line_shift};
    int8_t* const to = t.unpacked + s * TILE_SIZE * width;
    for (int64_t o = 0; o < TILE_SIZE; ++o) {
        if (o >= left)
            std::memset(to + o * width, 0, static_cast<size_t>(width));
        else if (q8)
            std::memcpy(to + o * width, from + o * bytes, static_cast<size_t>(groups * x.group));
        else
            unpack_q4(from + o * bytes, groups, to + o * width);
    }
    return {to, width, x.group, scales, scale_stride, next, line_stride, line_shift};
}

void multiply_block(const AmxTask& t, const AmxRows& x, int64_t band, int64_t bands, int64_t g,
                    int64_t groups) {
    AmxStrip strips[MAX_BLOCK.outputs / TILE_SIZE];
    for (int64_t s = 0; s < t.strips(); ++s) strips[s] = prepare_strip(t, x, s, g, groups);
    asm volatile("" ::: "memory");  // the compiler does not know that tiles read memory
    for (int64_t b = 0; b < bands; ++b)
        for (int64_t s = 0; s < t.strips(); ++s) {
            float* const totals = t.totals + (b * x.block.outputs + s * TILE_SIZE) * TILE_SIZE;
            const uint8_t* const activations = x.at(band + b, g);
            b == 0 ? multiply_tiles<true>(strips[s], activations, groups, totals)
                   : multiply_tiles<false>(strips[s], activations, groups, totals);
        }
}

void run_task(const AmxTask& t, const AmxRows& x, int64_t rows, const Epilogue& epilogue) {
    convert_task_scales(t, x);
    for (int64_t band = 0; band < x.bands; band += MAX_BANDS) {
        const int64_t bands = x.bands - band < MAX_BANDS ? x.bands - band : MAX_BANDS;
        const int64_t totals = bands * x.block.outputs * TILE_SIZE,
                      groups = x.block.inputs / x.group;
        std::memset(t.totals, 0, sizeof(float) * static_cast<size_t>(totals));
        for (int64_t g = 0; g < x.groups; g += groups)
            multiply_block(t, x, band, bands, g, x.groups - g < groups ? x.groups - g : groups);
        for (int64_t b = 0; b < bands; ++b)
            for (int64_t s = 0; s < t.strips(); ++s) {
                const int64_t row = (band + b) * TILE_SIZE, left = t.count - s * TILE_SIZE;
                f32s sums[TILE_SIZE];
                for (int64_t o = 0; o < TILE_SIZE; ++o)
                    sums[o] =
                        load(t.totals + (b * x.block.outputs + s * TILE_SIZE + o) * TILE_SIZE);
                epilogue.store_block(row, rows - row < TILE_SIZE ? rows - row : TILE_SIZE,
                                     t.first + s * TILE_SIZE, left < TILE_SIZE ? left : TILE_SIZE,
                                     sums);
            }
    }
}

}  // namespace

int64_t amx_workspace(int64_t rows, const Weights& w) {
    const int64_t groups = w.padded_inputs / group_size(w.element);
    return ceil_div(rows, TILE_SIZE) * (groups * 2 * TILE_BYTES + TILE_SIZE * 4);
}

void linear_amx(Pool& pool, const float* x, int64_t rows, const Weights& w, void* workspace,
                float* out, bool add) {
    const AmxRows quantized(rows, w, workspace);
    quantize_rows(pool, x, rows, w.inputs, quantized);
    const Epilogue epilogue{w, quantized.scales, out, add};
    const int64_t width = outputs_per_task(w.outputs, pool.threads(), quantized.block.outputs);
    const int64_t bands = quantized.bands < MAX_BANDS ? quantized.bands : MAX_BANDS;
    const auto [inputs, outputs] = quantized.block;
    const int64_t totals = bands * outputs * TILE_SIZE;
    const int64_t scales = outputs * ceil_div(quantized.groups, LANES) * LANES;
    parallel_for(pool, ceil_div(w.outputs, width), totals + scales + outputs * inputs / 4,
                 [&](int64_t task, float* scratch) {
        const int64_t first = task * width, left = w.outputs - first;
        configure_tiles(quantized.group);
        run_task({w, first, left < width ? left : width, scratch, scratch + totals,
                  reinterpret_cast<int8_t*>(scratch + totals + scales)},
                 quantized, rows, epilogue);
        _tile_release();
    });
}

}  // namespace cpm::CPM_ISA

#endif
