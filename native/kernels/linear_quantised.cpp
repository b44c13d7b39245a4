// out = x W^T + bias for weights [O, K] in 8 or 4 bits, with a float16 scale for every group.
//
// Each row of x is rounded to 16 bits first, by a unit of its own. The products of a group are
// summed exactly, as int32: at most 64 of 128 * 32639 in 8 bits, 2.7e8. The sum is brought to
// float32 and taken, times the group's scale, to the output's sum by one FMA; groups come in order.
// That sum times the row's unit is added to the bias (plus what `out` held). None of this depends
// on how rows and outputs are cut into tiles, and it is the same on every processor with FMA.
//
//   few    fewer rows than lanes: lanes are several outputs of some rows
//   many   lanes are rows; parts of x and W stay in the caches
#include "kernels/quantised.hpp"

namespace cpm::CPM_ISA {
namespace {

// ---- formats: the weights and numbers that are multiplied at a time, a "unit" ----

struct Q8 {
    static constexpr int64_t GROUP = GROUP_Q8, GROUPS = 1, WEIGHT_BYTES = 64, NUMBER_BYTES = 128;
    static constexpr int32_t ZERO = 0;  // the code that means 0
    struct Codes {
        i16s part[64 / PAIRED];
    };
    CPM_INLINE Codes unpack(const uint8_t* from) {
        Codes codes;
        CPM_UNROLL for (int i = 0; i < 64 / PAIRED; ++i)
            codes.part[i] = widen(reinterpret_cast<const int8_t*>(from) + i * PAIRED);
        return codes;
    }
    CPM_INLINE i32s dot(const Codes& codes, const uint8_t* numbers) {
        const auto* const x = reinterpret_cast<const int16_t*>(numbers);
        i32s sum = {};
        CPM_UNROLL for (int i = 0; i < 64 / PAIRED; ++i)
            sum = add_pairs(sum, codes.part[i], load(x + i * PAIRED));
        return sum;
    }
    CPM_INLINE void keep(const int16_t* from, uint8_t* to) { std::memcpy(to, from, NUMBER_BYTES); }
};

#if defined(__AVX2__)
// Bytes with bytes: the codes without a sign, and the numbers' high and low bytes. A block of four
// lanes is a group, so that a vector holds as many groups as it has blocks.
struct Q4 {
    static constexpr int64_t GROUP = GROUP_Q4, GROUPS = LANES / 4;
    static constexpr int64_t WEIGHT_BYTES = BYTES, NUMBER_BYTES = 4 * BYTES;
    static constexpr int32_t ZERO = 8;
#if defined(__AVX512VNNI__)
    using Bytes = __m512i;
    CPM_INLINE Bytes get(const uint8_t* at) { return _mm512_loadu_si512(at); }
    CPM_INLINE Bytes dots(Bytes sum, Bytes a, Bytes x, Bytes b, Bytes y) {
        return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, a, x), b, y);
    }
    CPM_INLINE Bytes dots(Bytes a, Bytes x, Bytes b, Bytes y) {
        return dots(_mm512_setzero_si512(), a, x, b, y);
    }
    CPM_INLINE i32s dot(Bytes codes, const uint8_t* x) {
        const Bytes low = _mm512_and_si512(codes, _mm512_set1_epi8(15));
        const Bytes high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
        const Bytes above = dots(low, get(x), high, get(x + BYTES));
        return (i32s)dots(_mm512_slli_epi32(above, 8), low, get(x + 2 * BYTES), high,
                          get(x + 3 * BYTES));
    }
#else
    using Bytes = __m256i;
    CPM_INLINE Bytes get(const uint8_t* at) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    }
    // Sums of four products of at most 15 * 128: they fit 16 bits.
    CPM_INLINE Bytes dots(Bytes a, Bytes x, Bytes b, Bytes y) {
        return _mm256_add_epi16(_mm256_maddubs_epi16(a, x), _mm256_maddubs_epi16(b, y));
    }
    CPM_INLINE i32s dot(Bytes codes, const uint8_t* x) {
        const Bytes low = _mm256_and_si256(codes, _mm256_set1_epi8(15));
        const Bytes high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), _mm256_set1_epi8(15));
        const Bytes above = dots(low, get(x), high, get(x + BYTES));
        const Bytes below = dots(low, get(x + 2 * BYTES), high, get(x + 3 * BYTES));
        return (i32s)_mm256_madd_epi16(above, _mm256_set1_epi16(256)) +
               (i32s)_mm256_madd_epi16(below, _mm256_set1_epi16(1));
    }
#endif
    using Codes = Bytes;
    CPM_INLINE Codes unpack(const uint8_t* from) { return get(from); }
    // High bytes of the groups' first halves, of their second halves; then the low bytes.
    CPM_INLINE void keep(const int16_t* from, uint8_t* to) {
        for (int64_t i = 0; i < GROUPS * GROUP; i += 16) {
            uint8_t* const at = to + i / GROUP * 16 + (i % GROUP ? BYTES : 0);
            split_bytes(from + i, at, at + 2 * BYTES);
        }
    }
};
#else
struct Q4 {
    static constexpr int64_t GROUP = GROUP_Q4, GROUPS = 1, WEIGHT_BYTES = 16, NUMBER_BYTES = 64;
    static constexpr int32_t ZERO = 8;
    using Codes = i16s;
    CPM_INLINE Codes unpack(const uint8_t* from) {
        u8s x;
        std::memcpy(&x, from, sizeof x);
        return __builtin_convertvector(x, i16s);
    }
    CPM_INLINE i32s dot(Codes codes, const uint8_t* numbers) {
        const auto* const x = reinterpret_cast<const int16_t*>(numbers);
        return add_pairs(add_pairs(i32s{}, codes & 15, load(x)), codes >> 4, load(x + PAIRED));
    }
    CPM_INLINE void keep(const int16_t* from, uint8_t* to) { std::memcpy(to, from, NUMBER_BYTES); }
};
#endif

// ---- rows of x ----

// Rows are kept by bands of LANES; the last has as many as are left, filled up with zeros to a
// power of two. A band is [units][rows][NUMBER_BYTES].
struct Band {
    int64_t first, used;
    int rows;
};

CPM_INLINE Band band_of(int64_t row, int64_t rows) {
    const int64_t first = row / LANES * LANES, left = rows - first;
    int room = 1;
    while (room < LANES && room < left) room *= 2;
    return {first, left < LANES ? left : LANES, room};
}

template <class Q>
CPM_INLINE int64_t units_of(const Weights& w) {
    return ceiling(w.padded, Q::GROUP * Q::GROUPS);
}

// Room for the rows of one call: values, zeros, units.
template <class Q>
struct Rows {
    Rows(int64_t rows, const Weights& w, void* room)
        : groups(w.padded / Q::GROUP),
          units(units_of<Q>(w)),
          values(static_cast<uint8_t*>(room)),
          zeros(reinterpret_cast<int32_t*>(values + value_bytes(rows, w))),
          scales(reinterpret_cast<float*>(zeros + zero_count(rows, w))) {}

    static int64_t filled(int64_t rows) {
        const Band last = band_of(rows - 1, rows);
        return last.first + last.rows;
    }
    static int64_t value_bytes(int64_t rows, const Weights& w) {
        return filled(rows) * units_of<Q>(w) * Q::NUMBER_BYTES;
    }
    static int64_t zero_count(int64_t rows, const Weights& w) {
        return Q::ZERO ? ceiling(rows, LANES) * (w.padded / Q::GROUP) * LANES : 0;
    }
    static int64_t bytes(int64_t rows, const Weights& w) {
        return value_bytes(rows, w) + 4 * (zero_count(rows, w) + rows);
    }
    const uint8_t* at(Band band, int64_t unit) const {
        return values + (band.first * units + unit * band.rows) * Q::NUMBER_BYTES;
    }

    const int64_t groups, units;
    uint8_t* const values;
    int32_t* const zeros;  // what code ZERO gives in place of 0: [bands][groups][LANES]
    float* const scales;   // of rows
};

template <class Q>
void narrow(const float* x, int64_t inputs, int64_t row, int64_t rows, const Rows<Q>& to) {
    constexpr int64_t SIZE = Q::GROUP * Q::GROUPS;
    const Band band = band_of(row < rows ? row : rows - 1, rows);
    const int64_t place = row - band.first, count = row < rows ? inputs : 0;
    const float scale = unit_of(x, count);
    if (row < rows) to.scales[row] = scale;
    for (int64_t u = 0; u < to.units; ++u) {
        int16_t numbers[SIZE];
        round_all(x + u * SIZE, count - u * SIZE, SIZE, scale, numbers);
        Q::keep(numbers,
                to.values + (band.first * to.units + u * band.rows + place) * Q::NUMBER_BYTES);
        if constexpr (Q::ZERO != 0)
            for (int64_t g = 0; g < Q::GROUPS && u * Q::GROUPS + g < to.groups; ++g) {
                int32_t sum = 0;
                for (int64_t i = 0; i < Q::GROUP; ++i) sum += numbers[g * Q::GROUP + i];
                const int64_t at = (band.first / LANES * to.groups + u * Q::GROUPS + g) * LANES;
                for (int64_t l = place; l < LANES; l += band.rows) to.zeros[at + l] = Q::ZERO * sum;
            }
    }
}

template <class Q>
void narrow_all(Pool& pool, const float* x, int64_t rows, int64_t inputs, const Rows<Q>& to) {
    constexpr int64_t TASK = 16384;  // numbers that are worth a thread's while
    const int64_t together = TASK / inputs + 1, filled = Rows<Q>::filled(rows);
    parallel(pool, ceiling(filled, together), 0, [&](int64_t task, float*) {
        for (int64_t r = task * together; r < filled && r < (task + 1) * together; ++r)
            narrow<Q>(x + (r < rows ? r : 0) * inputs, inputs, r, rows, to);
    });
}

// ---- products ----

// O outputs with R rows along groups; lane o * R + r is output o with row r.
template <class Q>
struct Strip {
    const uint8_t* weights;
    int64_t stride;  // bytes of an output
    const uint8_t* numbers;
    const int32_t* zeros;  // [groups][LANES]
    const float* scales;   // [groups][LANES], or [groups] if there is but one output
    int64_t groups;
    int64_t left;         // groups from here to the outputs' end
    const uint8_t* next;  // the outputs after these
};

template <class Q, int R, int O>
CPM_INLINE void multiply(const uint8_t* weights, int64_t stride, const uint8_t* numbers,
                         i32s* sums) {
    CPM_UNROLL for (int o = 0; o < O; ++o) {
        const auto codes = Q::unpack(weights + o * stride);
        CPM_UNROLL for (int r = 0; r < R; ++r)
            sums[o * R + r] = Q::dot(codes, numbers + r * Q::NUMBER_BYTES);
    }
    for (int l = O * R; l < LANES; ++l) sums[l] = i32s{};
    sum_blocks(sums);
    if constexpr (Q::GROUPS == 1) CPM_UNROLL
        for (int b = 1; b < LANES / 4; ++b) sums[0] += sums[b];
}

// Take the exact sums of `count` groups from group g on to the total.
template <class Q, bool ALONE>
CPM_INLINE f32s take(const Strip<Q>& s, const i32s* sums, int64_t g, int count, f32s total) {
    CPM_UNROLL for (int k = 0; k < count; ++k) {
        i32s sum = sums[k];
        if constexpr (Q::ZERO != 0) sum -= load(s.zeros + (g + k) * LANES);
        const f32s scale = ALONE ? splat(s.scales[g + k]) : load(s.scales + (g + k) * LANES);
        total = fma(__builtin_convertvector(sum, f32s), scale, total);
    }
    return total;
}

// Where weights are that come from memory while group g is multiplied, a line for each output.
// Short rows come whole, a tile ahead, in memory's order; long ones a part ahead.
struct Lines {
    const uint8_t* from;
    int64_t step;
};

template <class Q, int O>
CPM_INLINE Lines ahead(const Strip<Q>& s, const uint8_t* weights, int64_t g) {
    constexpr int64_t LONG = 4096, PART = 512;
    constexpr int64_t GROUPS = PART / Q::WEIGHT_BYTES * Q::GROUPS;
    const int64_t left = s.left - g;
    if (s.stride <= LONG)
        return {s.next + (s.stride - left * Q::WEIGHT_BYTES / Q::GROUPS) * O, Q::WEIGHT_BYTES};
    if (left > GROUPS) return {weights + PART, s.stride};
    return {s.next + (GROUPS - left) * Q::WEIGHT_BYTES / Q::GROUPS, s.stride};
}

template <class Q, int R, int O>
CPM_INLINE f32s tile(const Strip<Q>& s, f32s total) {
    constexpr bool ALONE = R == LANES;
    const uint8_t *weights = s.weights, *numbers = s.numbers;
    i32s sums[LANES];
    int64_t g = 0;
    for (; g + Q::GROUPS <= s.groups; g += Q::GROUPS) {
        if constexpr (!ALONE) {
            const auto [from, step] = ahead<Q, O>(s, weights, g);
            CPM_UNROLL for (int o = 0; o < O; ++o)
                __builtin_prefetch(from + o * step, 0, 2);
        }
        multiply<Q, R, O>(weights, s.stride, numbers, sums);
        total = take<Q, ALONE>(s, sums, g, Q::GROUPS, total);
        weights += Q::WEIGHT_BYTES, numbers += R * Q::NUMBER_BYTES;
    }
    if constexpr (Q::GROUPS == 1) return total;
    if (const auto rest = static_cast<int>(s.groups - g); rest > 0) {
        uint8_t last[O * Q::WEIGHT_BYTES] = {};
        for (int o = 0; o < O; ++o)
            std::memcpy(last + o * Q::WEIGHT_BYTES, weights + o * s.stride,
                        static_cast<size_t>(rest * Q::WEIGHT_BYTES / Q::GROUPS));
        multiply<Q, R, O>(last, Q::WEIGHT_BYTES, numbers, sums);
        total = take<Q, ALONE>(s, sums, g, rest, total);
    }
    return total;
}

constexpr int64_t OUTPUTS = 64;          // of a task: their weights stay in the second-level cache
constexpr int64_t BLOCK = 8192 / LANES;  // inputs: of LANES rows they fill half a first-level cache

// The outputs of a task, and room for what is prepared for them.
struct Part {
    const uint8_t* weights;
    int64_t stride, first, count;
    const uint16_t* scales;  // [count][groups]
    float* room;             // for scales, widened: [OUTPUTS][step]
    int64_t step;            // groups, filled up to whole vectors
};

// Widen the scales of LANES groups, or of `left`, as the lanes of O outputs with R rows need them.
template <int R, int O>
CPM_INLINE void spread(const uint16_t* scales, int64_t groups, int64_t left, float* to) {
    f32s lanes[LANES];
    CPM_UNROLL for (int l = 0; l < LANES; ++l) {
        const uint16_t* const from = scales + l / R * groups;
        lanes[l] = l / R >= O      ? zero()
                   : left >= LANES ? F16::load(from)
                                   : load_first<F16>(from, left);
    }
    transpose<1>(lanes);
    CPM_UNROLL for (int l = 0; l < LANES; ++l)
        store(to + l * LANES, lanes[l]);
}

template <class Q, int R, int O>
CPM_INLINE void few_outputs(const Rows<Q>& x, Band band, const Part& part, int64_t o,
                            const Target& target) {
    const uint16_t* const scales = part.scales + o * x.groups;
    const uint8_t* const weights = part.weights + o * part.stride;
    float room[LANES * LANES], sums[LANES];
    f32s total = zero();
    for (int64_t g = 0; g < x.groups; g += LANES) {
        const int64_t left = x.groups - g, unit = g / Q::GROUPS;
        for (int64_t i = 0; i < O * LANES; i += 32)  // of the next outputs
            __builtin_prefetch(scales + O * (x.groups + g) + i, 0, 2);
        spread<R, O>(scales + g, x.groups, left, room);
        const Strip<Q> strip{weights + unit * Q::WEIGHT_BYTES,
                             part.stride,
                             x.at(band, unit),
                             x.zeros + (band.first / LANES * x.groups + g) * LANES,
                             room,
                             left < LANES ? left : LANES,
                             left,
                             weights + O * part.stride};
        total = tile<Q, R, O>(strip, total);
    }
    store(sums, total);
    for (int64_t r = 0; r < band.used; ++r)
        for (int64_t i = 0; i < O; ++i)
            target.put(band.first + r, part.first + o + i, sums[i * R + r]);
}

template <class Q, int R>
void few(const Rows<Q>& x, Band band, const Part& part, const Target& target) {
    constexpr int O = LANES / R;
    int64_t o = 0;
    for (; o + O <= part.count; o += O) few_outputs<Q, R, O>(x, band, part, o, target);
    for (; o < part.count; ++o) few_outputs<Q, R, 1>(x, band, part, o, target);
}

template <class Q>
void many(const Rows<Q>& x, Band band, const Part& part, const Target& target) {
    f32s sums[OUTPUTS];
    for (int64_t o = 0; o < part.count; ++o) {
        sums[o] = zero();
        widen_scales(part.scales + o * x.groups, x.groups, part.room + o * part.step);
    }
    for (int64_t g = 0; g < x.groups; g += BLOCK / Q::GROUP) {
        const int64_t left = x.groups - g, most = BLOCK / Q::GROUP, unit = g / Q::GROUPS;
        Strip<Q> strip{part.weights + unit * Q::WEIGHT_BYTES,
                       part.stride,
                       x.at(band, unit),
                       x.zeros + (band.first / LANES * x.groups + g) * LANES,
                       part.room + g,
                       left < most ? left : most,
                       left,
                       nullptr};
        for (int64_t o = 0; o < part.count; ++o) {
            sums[o] = tile<Q, LANES, 1>(strip, sums[o]);
            strip.weights += part.stride, strip.scales += part.step;
        }
    }
    for (int64_t o = 0; o < part.count; o += LANES)
        target.put_block(band.first, band.used, part.first + o,
                         part.count - o < LANES ? part.count - o : LANES, sums + o);
}

template <class Q, int R = LANES>
CPM_INLINE void choose(const Rows<Q>& x, Band band, const Part& part, const Target& target) {
    if constexpr (R == LANES) {
        if (band.rows == R) return many<Q>(x, band, part, target);
    } else {
        if (band.rows == R) return few<Q, R>(x, band, part, target);
    }
    if constexpr (R > 1) choose<Q, R / 2>(x, band, part, target);
}

template <class Q>
void products(Pool& pool, const Rows<Q>& x, int64_t rows, const Target& target) {
    const Weights& w = target.w;
    const auto* const values = static_cast<const uint8_t*>(w.values);
    const int64_t stride = x.groups * Q::WEIGHT_BYTES / Q::GROUPS;
    const int64_t step = ceiling(x.groups, LANES) * LANES;
    const int64_t width = split(w.outputs, pool.threads(), OUTPUTS);
    parallel(pool, ceiling(w.outputs, width), OUTPUTS * step, [&](int64_t task, float* scratch) {
        const int64_t first = task * width, left = w.outputs - first;
        const Part part{values + first * stride,     stride,  first, left < width ? left : width,
                        w.scales + first * x.groups, scratch, step};
        for (int64_t row = 0; row < rows; row += LANES)
            choose<Q>(x, band_of(row, rows), part, target);
    });
}

template <class Q>
void both(Pool& pool, const float* x, int64_t rows, const Weights& w, void* room, float* out,
          bool add) {
    const Rows<Q> narrowed(rows, w, room);
    narrow_all<Q>(pool, x, rows, w.inputs, narrowed);
    products<Q>(pool, narrowed, rows, Target{w, narrowed.scales, out, add});
}

#if defined(__AMX_INT8__)
constexpr int64_t TILES_FROM = 5;  // rows; with fewer the memory is the limit either way
#endif

}  // namespace

int64_t quantised_room(int64_t rows, const Weights& w) {
#if defined(__AMX_INT8__)
    if (rows >= TILES_FROM) return tiles_room(rows, w);
#endif
    return w.element == Element::q8 ? Rows<Q8>::bytes(rows, w) : Rows<Q4>::bytes(rows, w);
}

void linear_quantised(Pool& pool, const float* x, int64_t rows, const Weights& w, void* room,
                      float* out, bool add) {
#if defined(__AMX_INT8__)
    if (rows >= TILES_FROM) return linear_tiles(pool, x, rows, w, room, out, add);
#endif
    w.element == Element::q8 ? both<Q8>(pool, x, rows, w, room, out, add)
                             : both<Q4>(pool, x, rows, w, room, out, add);
}

}  // namespace cpm::CPM_ISA
