// Products with weights that are packed once: y = x @ weight.T + bias.
//
// A panel is WIDTH columns of y, a slab is DEPTH terms of their sums: it fits into the first cache
// and serves every row of a chunk. Half precision is widened there, slab by slab, and in x, chunk
// by chunk. Each sum takes up its terms from first to last and waits in memory between two slabs:
// neither the rows of a batch nor the threads change what a row's product is, in any bit.
//
//   packed  [panels][in_features][WIDTH], the last panel filled up with zeros
//   wide x  [slabs][chunk rows][DEPTH] of float
//   sums    [rows][WIDTH] of float, of one panel, in the cache of one thread
#include <algorithm>
#include <array>
#include <utility>
#include <vector>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "simd.h"

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)  // have 32 registers, others 16
constexpr int ROWS = 8;
#else
constexpr int ROWS = 4;
#endif
constexpr int VECTORS = 3;  // ROWS * VECTORS sums are in registers, besides VECTORS weights
constexpr int64_t WIDTH = VECTORS * LANES;
constexpr int64_t DEPTH = 2048 / LANES;
constexpr int64_t CHUNK = 192;
constexpr int64_t TASKS = 4;  // for each thread at least, so that all end at about the same time

int64_t over(int64_t count, int64_t size) { return (count + size - 1) / size; }

int64_t num_threads() {
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}

// What will be needed soon, fetched from memory while the sums of a slab keep the processor busy:
// `stride` bytes of it for each term.
struct Soon {
    const char* from;
    int64_t stride;
};

// sums[row, :] += x[row, :depth] @ slab[:depth, :]
template <int NUM_ROWS, typename T>
void multiply(float* sums, const float* x, const T* slab, int64_t depth, Soon soon) {
    Floats sum[NUM_ROWS][VECTORS];  // in registers: only if all loops over it are unrolled early
#pragma GCC unroll 8
    for (int row = 0; row < NUM_ROWS; row++)
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++) sum[row][i] = load(sums + row * WIDTH + i * LANES);
    for (int64_t k = 0; k < depth; k++) {
        __builtin_prefetch(soon.from + k * soon.stride, 0, 2);
        Floats weight[VECTORS];
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++)
            weight[i] = in_register(load(slab + k * WIDTH + i * LANES));
#pragma GCC unroll 8
        for (int row = 0; row < NUM_ROWS; row++) {
            Floats factor = splat(x[row * DEPTH + k]);
#pragma GCC unroll 8
            for (int i = 0; i < VECTORS; i++) sum[row][i] = multiply_add(factor, weight[i], sum[row][i]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < NUM_ROWS; row++)
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++) store(sums + row * WIDTH + i * LANES, sum[row][i]);
}

template <typename T, int... ROW>
constexpr auto multiply_by_rows(std::integer_sequence<int, ROW...>) {
    return std::array<decltype(&multiply<1, T>), ROWS>{multiply<ROW + 1, T>...};
}

// The same for any number of rows; each block of them fetches the next part of what comes soon.
template <typename T>
void multiply_all(
    float* sums, const float* x, int64_t num_rows, const T* slab, int64_t depth, Soon soon) {
    constexpr auto by_rows = multiply_by_rows<T>(std::make_integer_sequence<int, ROWS>{});
    for (int64_t row = 0; row < num_rows; row += ROWS, soon.from += depth * soon.stride)
        by_rows[std::min<int64_t>(ROWS, num_rows - row) - 1](
            sums + row * WIDTH, x + row * DEPTH, slab, depth, soon);
}

template <typename T>
void widen_all(float* to, const T* from, int64_t count) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store(to + i, load(from + i));
    for (; i < count; i++) to[i] = widen(from[i]);
}

template <typename T>
void add_and_store(
    T* y, const float* sums, const T* bias, int64_t num_rows, int64_t width, int64_t row_stride) {
    for (int64_t i = 0; i < width; i += LANES) {
        int64_t count = std::min<int64_t>(LANES, width - i);
        Floats offset = bias ? load_some(bias + i, count) : Floats{};
        for (int64_t row = 0; row < num_rows; row++) {
            Floats value = load(sums + row * WIDTH + i) + offset;
            T* to = y + row * row_stride + i;
            if (count == LANES) store(to, value);
            else store_some(to, value, count);
        }
    }
}

template <typename T>
struct Linear {
    const T* packed;
    const T* bias;  // or null
    int64_t in_features, out_features;

    // Some rows of a chunk times one panel; y and x begin with the first of these rows.
    void multiply_panel(
        T* y, const float* x, int64_t num_rows, int64_t chunk_rows, int64_t panel) const {
        alignas(64) float sums[CHUNK * WIDTH];
        alignas(64) float wide[DEPTH * WIDTH];
        std::fill_n(sums, num_rows * WIDTH, 0.0f);
        const T* slab = packed + panel * in_features * WIDTH;
        for (int64_t k = 0; k < in_features; k += DEPTH, x += chunk_rows * DEPTH) {
            int64_t depth = std::min(DEPTH, in_features - k);
            const T* next = slab + depth * WIDTH;
            Soon soon{(const char*)next, int64_t(WIDTH * sizeof(T)) / over(num_rows, ROWS)};
            if (sizeof(T) == sizeof(float) || num_rows <= 2 * ROWS) {
                multiply_all(sums, x, num_rows, slab, depth, soon);
            } else {
                widen_all(wide, slab, depth * WIDTH);
                multiply_all<float>(sums, x, num_rows, wide, depth, soon);
            }
            slab = next;
        }
        int64_t column = panel * WIDTH, width = std::min(WIDTH, out_features - column);
        add_and_store(
            y + column, sums, bias ? bias + column : nullptr, num_rows, width, out_features);
    }

    // `wide` has room for a chunk.
    void multiply_rows(T* y, const T* x, float* wide, int64_t num_rows, int64_t row_stride) const {
        int64_t num_panels = over(out_features, WIDTH);
        // Narrow products are split by rows, too.
        int64_t num_parts = over(TASKS * num_threads(), std::max<int64_t>(1, num_panels));
        for (int64_t start = 0; start < num_rows; start += CHUNK) {
            int64_t chunk_rows = std::min(CHUNK, num_rows - start);
            int64_t part_rows = over(over(chunk_rows, num_parts), ROWS) * ROWS;
#pragma omp parallel for schedule(static) if (chunk_rows * in_features > 1 << 14)
            for (int64_t row = 0; row < chunk_rows; row++)
                for (int64_t k = 0; k < in_features; k += DEPTH)
                    widen_all(
                        wide + k * chunk_rows + row * DEPTH, x + (start + row) * row_stride + k,
                        std::min(DEPTH, in_features - k));
#pragma omp parallel for schedule(dynamic) collapse(2) \
    if (chunk_rows * in_features * out_features > 1 << 16)
            for (int64_t panel = 0; panel < num_panels; panel++)
                for (int64_t first = 0; first < chunk_rows; first += part_rows)
                    multiply_panel(
                        y + (start + first) * out_features, wide + first * DEPTH,
                        std::min(part_rows, chunk_rows - first), chunk_rows, panel);
        }
    }
};

}  // namespace

// How many columns `motet_pack_linear` rounds `out_features` up to a multiple of.
extern "C" void motet_panel_width(int64_t* width) { *width = WIDTH; }

// weight [out_features, in_features] to packed [panels, in_features, WIDTH]
extern "C" void motet_pack_linear(
    void* packed, const void* weight, int64_t out_features, int64_t in_features, int64_t dtype) {
    with_dtype(dtype, [=](auto zero) {
        using T = decltype(zero);
        int64_t num_panels = over(out_features, WIDTH);
#pragma omp parallel for schedule(static) if (out_features * in_features > 1 << 14)
        for (int64_t panel = 0; panel < num_panels; panel++) {
            T* to = (T*)packed + panel * in_features * WIDTH;
            const T* from = (const T*)weight + panel * in_features * WIDTH;
            int64_t width = std::min(WIDTH, out_features - panel * WIDTH);
            for (int64_t k = 0; k < in_features; k++)
                for (int64_t i = 0; i < WIDTH; i++)
                    to[k * WIDTH + i] = i < width ? from[i * in_features + k] : zero;
        }
    });
}

// y[row] = x[row] @ weight.T + bias, in fp32, rounded once; rows of x lie `row_stride` apart.
extern "C" void motet_linear(
    void* y, const void* x, const void* packed, const void* bias, int64_t num_rows,
    int64_t row_stride, int64_t out_features, int64_t in_features, int64_t dtype) {
    static thread_local std::vector<float> scratch;  // of one chunk of the widest x so far
    size_t size = std::min(CHUNK, num_rows) * over(in_features, DEPTH) * DEPTH;
    if (scratch.size() < size) scratch.resize(size);
    float* wide = scratch.data();
    with_dtype(dtype, [=](auto zero) {
        using T = decltype(zero);
        Linear<T> linear{(const T*)packed, (const T*)bias, in_features, out_features};
        linear.multiply_rows((T*)y, (const T*)x, wide, num_rows, row_stride);
    });
}
