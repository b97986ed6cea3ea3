// LoRA for rows of many adapters at once, exact in rank (after SGMV, Punica, arXiv:2310.18547).
//
// All rows of one adapter meet its tiles while these are in the cache. Every output is one chain of
// sums: over the inputs for shrink, lane by lane, and over the ranks for expand. How rows, ranks and
// columns are cut into blocks decides what is loaded how often, and never a result.

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <vector>

#include "simd.h"

namespace {

constexpr int NO_GAIN = -1;  // as in kernels/__init__.py

// What is summed at once in registers: rows times ranks in shrink, rows times vectors in expand.
// Twelve sums hide the latency of an addition and leave four of sixteen registers for factors.
constexpr int ROWS = LANES == 16 ? 6 : 3, RANKS = 4, VECTORS = 4;

constexpr int SHRINK_ROWS = 48;        // most rows of a unit, whose inputs stay in the L2 cache
constexpr int SHRINK_COLUMNS = 1024;   // of A at a time: RANKS rows of them stay in the L1 cache
constexpr int EXPAND_ROWS = 24;        // most rows of a unit, whose sums stay in the L1 cache
constexpr int EXPAND_COLUMNS = 256;    // of a unit
constexpr int EXPAND_RANKS = 8;        // at a time

// The ranks of the adapter in each slot, and where its tiles lie.
struct Tables {
    const int64_t* tile_offset;  // of A or of B, [slots, sites, groups]
    const int32_t* rank;         // [slots, sites]
    int64_t num_sites, num_groups, tile_ranks;

    int64_t at(int64_t slot, int64_t site) const { return slot * num_sites + site; }
    const int64_t* tiles(int64_t at) const { return tile_offset + at * num_groups; }
};

struct Chunks {
    const int32_t *slot, *start, *len, *count;
};

// What one thread does at a time: some ranks (shrink) or columns (expand) of some sorted rows.
struct Unit {
    int64_t slot, slice;
    int64_t row, num_rows;
    int64_t first, count;
};

// Joins neighbouring chunks of one slot, then cuts what they need into units. `extent(slot, slice)`
// is the number of ranks or columns; those of the same rows follow each other.
template <typename Extent>
std::vector<Unit> units_of(
    Chunks chunks, int64_t num_slices, int64_t most_rows, int64_t most, Extent extent) {
    std::vector<Unit> units;
    for (int64_t c = 0, next; c < *chunks.count; c = next) {
        int64_t slot = chunks.slot[c], stop = chunks.start[c] + chunks.len[c];
        for (next = c + 1; next < *chunks.count; next++) {
            if (chunks.slot[next] != slot || chunks.start[next] != stop) break;
            stop += chunks.len[next];
        }
        for (int64_t row = chunks.start[c]; row < stop; row += most_rows)
            for (int64_t slice = 0; slice < num_slices; slice++)
                for (int64_t first = 0, all = extent(slot, slice); first < all; first += most)
                    units.push_back({slot, slice, row, std::min(most_rows, stop - row), first,
                                     std::min(most, all - first)});
    }
    return units;
}

// Calls `run` with `count`, 1 to MOST, as a constant.
template <int MOST, typename Run>
inline void with_count(int64_t count, Run run) {
    if constexpr (MOST > 1)
        if (count < MOST) return with_count<MOST - 1>(count, run);
    run(std::integral_constant<int, MOST>{});
}

// sums[i][r] += x[i] * a[r], lane by lane.
template <int NUM_ROWS, int NUM_RANKS, typename T>
inline void add_products(
    Floats (*sums)[RANKS], const T* const* x, const T* a, int64_t a_stride, int64_t num_columns) {
    Floats total[NUM_ROWS][NUM_RANKS];
    for (int i = 0; i < NUM_ROWS; i++)
        for (int r = 0; r < NUM_RANKS; r++) total[i][r] = sums[i][r];
    auto add = [&](auto load_at) {
        Floats row[NUM_ROWS];
        for (int i = 0; i < NUM_ROWS; i++) row[i] = in_register(load_at(x[i]));
        for (int r = 0; r < NUM_RANKS; r++) {
            Floats factor = in_register(load_at(a + r * a_stride));
            for (int i = 0; i < NUM_ROWS; i++) total[i][r] = multiply_add(row[i], factor, total[i][r]);
        }
    };
    int64_t c = 0;
    for (; c + LANES <= num_columns; c += LANES) add([=](const T* from) { return load(from + c); });
    if (c < num_columns)
        add([=](const T* from) { return load_some(from + c, num_columns - c); });
    for (int i = 0; i < NUM_ROWS; i++)
        for (int r = 0; r < NUM_RANKS; r++) sums[i][r] = total[i][r];
}

// sums[i] += factors[i][r] * b[r], for each of `num_ranks`, in NUM_VECTORS vectors. The last of
// them has `rest` elements of b.
template <int NUM_ROWS, int NUM_VECTORS, typename T>
inline void add_ranks(
    float* sums, int64_t sums_stride, const float* factors, int64_t factors_stride, const T* b,
    int64_t b_stride, int64_t num_ranks, int64_t rest) {
    Floats total[NUM_ROWS][NUM_VECTORS];
    for (int i = 0; i < NUM_ROWS; i++)
        for (int v = 0; v < NUM_VECTORS; v++) total[i][v] = load(sums + i * sums_stride + v * LANES);
    for (int64_t r = 0; r < num_ranks; r++, b += b_stride) {
        Floats factor[NUM_ROWS];
        for (int i = 0; i < NUM_ROWS; i++)
            factor[i] = in_register(splat(factors[i * factors_stride + r]));
        for (int v = 0; v < NUM_VECTORS; v++) {
            const T* at = b + v * LANES;
            Floats part = NUM_VECTORS > 1 || rest == LANES ? load(at) : load_some(at, rest);
            part = in_register(part);
            for (int i = 0; i < NUM_ROWS; i++)
                total[i][v] = multiply_add(factor[i], part, total[i][v]);
        }
    }
    for (int i = 0; i < NUM_ROWS; i++)
        for (int v = 0; v < NUM_VECTORS; v++) store(sums + i * sums_stride + v * LANES, total[i][v]);
}

template <typename T>
void shrink_unit(
    const Unit& unit, float* shrunk, int64_t shrunk_stride, const T* x, int64_t x_stride,
    const int32_t* row_index, const T* a, int64_t in_features, float scale) {
    Floats sums[SHRINK_ROWS][RANKS];
    std::fill_n(sums[0], unit.num_rows * RANKS, Floats{});
    const T* rows[SHRINK_ROWS];
    for (int64_t i = 0; i < unit.num_rows; i++) rows[i] = x + row_index[unit.row + i] * x_stride;
    for (int64_t c = 0; c < in_features; c += SHRINK_COLUMNS) {
        int64_t num_columns = std::min<int64_t>(SHRINK_COLUMNS, in_features - c);
        for (int64_t i = 0; i < unit.num_rows; i += ROWS)
            with_count<ROWS>(unit.num_rows - i, [&](auto num_rows) {
                with_count<RANKS>(unit.count, [&](auto num_ranks) {
                    add_products<num_rows, num_ranks>(
                        sums + i, rows + i, a + c, in_features, num_columns);
                });
                for (int j = 0; j < num_rows; j++) rows[i + j] += num_columns;
            });
    }
    for (int64_t i = 0; i < unit.num_rows; i++)
        for (int64_t r = 0; r < unit.count; r++)
            shrunk[(unit.row + i) * shrunk_stride + unit.first + r] = scale * sum(sums[i][r]);
}

template <typename T>
void expand_unit(
    const Unit& unit, T* y, int64_t y_stride, const int32_t* row_index, const float* shrunk,
    int64_t shrunk_stride, const T* arena, const int64_t* tiles, int64_t tile_ranks,
    int64_t rank, const T* gains, int64_t out_features) {
    float sums[EXPAND_ROWS][EXPAND_COLUMNS];
    std::fill_n(sums[0], unit.num_rows * EXPAND_COLUMNS, 0.0f);
    auto add_block = [&](int64_t first, const T* b, auto num_ranks) {
        for (int64_t c = 0, step; c < unit.count; c += step) {
            bool is_whole = c + VECTORS * LANES <= unit.count;
            step = is_whole ? VECTORS * LANES : LANES;
            int64_t rest = std::min<int64_t>(LANES, unit.count - c);
            for (int64_t i = 0; i < unit.num_rows; i += ROWS)
                with_count<ROWS>(unit.num_rows - i, [&](auto num_rows) {
                    const float* factors = shrunk + (unit.row + i) * shrunk_stride + first;
                    if (is_whole)
                        add_ranks<num_rows, VECTORS>(
                            &sums[i][c], EXPAND_COLUMNS, factors, shrunk_stride, b + c,
                            out_features, num_ranks, LANES);
                    else
                        add_ranks<num_rows, 1>(
                            &sums[i][c], EXPAND_COLUMNS, factors, shrunk_stride, b + c,
                            out_features, num_ranks, rest);
                });
        }
    };
    for (int64_t first = 0, num_ranks; first < rank; first += num_ranks) {
        int64_t in_tile = first % tile_ranks;
        const T* b = arena + tiles[first / tile_ranks] + in_tile * out_features + unit.first;
        num_ranks = std::min(tile_ranks - in_tile, rank - first);
        if (num_ranks < EXPAND_RANKS) {
            add_block(first, b, num_ranks);
        } else {  // a constant: the compiler unrolls it
            num_ranks = EXPAND_RANKS;
            add_block(first, b, std::integral_constant<int64_t, EXPAND_RANKS>());
        }
    }
    // gain * v + shift; whether there are any is known for all outputs of the unit.
    auto rescaled = [=](Floats value, int64_t c, auto load_at) {
        if (gains == nullptr) return value;
        const T* gain = gains + unit.first + c;
        return multiply_add(load_at(gain), value, load_at(gain + out_features));
    };
    for (int64_t i = 0; i < unit.num_rows; i++) {
        T* row = y + row_index[unit.row + i] * y_stride + unit.first;
        auto add = [&](int64_t c, auto load_at) {
            return rescaled(load_at(row + c) + load(&sums[i][c]), c, load_at);
        };
        int64_t c = 0;
        for (; c + LANES <= unit.count; c += LANES)
            store(row + c, add(c, [](const T* from) { return load(from); }));
        if (int64_t rest = unit.count - c)
            store_some(row + c, add(c, [=](const T* from) { return load_some(from, rest); }), rest);
    }
}

}  // namespace

// shrunk[s, i, :rank] = scale * A[site + s] @ x[row_index[i]].
extern "C" void motet_lora_shrink(
    float* shrunk, int64_t num_slices, int64_t shrunk_slice_stride, int64_t shrunk_stride,
    const void* x, int64_t in_features, int64_t x_stride,
    const void* arena, const int64_t* tile_offset, const int32_t* rank, const float* scale,
    int64_t num_sites, int64_t num_groups, int64_t tile_ranks,
    const int32_t* row_index, const int32_t* chunk_slot, const int32_t* chunk_start,
    const int32_t* chunk_len, const int32_t* num_chunks,
    int64_t site, int64_t dtype) {
    Tables tables{tile_offset, rank, num_sites, num_groups, tile_ranks};
    std::vector<Unit> units = units_of(
        {chunk_slot, chunk_start, chunk_len, num_chunks}, num_slices, SHRINK_ROWS,
        std::gcd(RANKS, tile_ranks),  // so that the ranks of a unit lie in one tile
        [=](int64_t slot, int64_t slice) { return rank[tables.at(slot, site + slice)]; });
    with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        int64_t num_units = units.size();
#pragma omp parallel for schedule(dynamic) if (num_units > 1)
        for (int64_t u = 0; u < num_units; u++) {
            const Unit& unit = units[u];
            int64_t at = tables.at(unit.slot, site + unit.slice);
            const T* a = (const T*)arena + tables.tiles(at)[unit.first / tile_ranks] +
                         unit.first % tile_ranks * in_features;
            shrink_unit(unit, shrunk + unit.slice * shrunk_slice_stride, shrunk_stride, (const T*)x,
                        x_stride, row_index, a, in_features, scale[at]);
        }
    });
}

// shrunk[0, i, :rank] = scale * A[:, token_ids[row_index[i]]], where A is cut into sites.
extern "C" void motet_lora_embed(
    float* shrunk, int64_t shrunk_stride, const int64_t* token_ids,
    const void* arena, const int64_t* tile_offset, const int32_t* rank, const float* scale,
    int64_t num_sites, int64_t num_groups, int64_t tile_ranks,
    int64_t tile_width, int64_t num_inputs,
    const int32_t* row_index, const int32_t* chunk_slot, const int32_t* chunk_start,
    const int32_t* chunk_len, const int32_t* num_chunks, int64_t site, int64_t dtype) {
    Tables tables{tile_offset, rank, num_sites, num_groups, tile_ranks};
    with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
#pragma omp parallel for schedule(dynamic) if (*num_chunks > 1)
        for (int64_t chunk = 0; chunk < *num_chunks; chunk++)
            for (int64_t i = chunk_start[chunk]; i < chunk_start[chunk] + chunk_len[chunk]; i++) {
                int64_t token = token_ids[row_index[i]], part = token / tile_width;
                int64_t width = std::min(tile_width, num_inputs - part * tile_width);
                int64_t at = tables.at(chunk_slot[chunk], site + part);
                const int64_t* tile = tables.tiles(at);
                const T* column = (const T*)arena + token % tile_width;
                float *row = shrunk + i * shrunk_stride, *end = row + rank[at];
                for (; row < end; tile++)
                    for (int64_t r = 0; r < tile_ranks && row < end; r++)
                        *row++ = scale[at] * widen(column[*tile + r * width]);
            }
    });
}

// y[row_index[i], out_start[s]:out_start[s + 1]] += B[site + s] @ shrunk[s, i, :rank].
extern "C" void motet_lora_expand(
    void* y, const int64_t* out_start, int64_t y_stride,
    const float* shrunk, int64_t num_slices, int64_t shrunk_slice_stride, int64_t shrunk_stride,
    const void* arena, const int64_t* tile_offset, const int64_t* gain_offset, const int32_t* rank,
    int64_t num_sites, int64_t num_groups, int64_t tile_ranks,
    const int32_t* row_index, const int32_t* chunk_slot, const int32_t* chunk_start,
    const int32_t* chunk_len, const int32_t* num_chunks,
    int64_t site, int64_t dtype) {
    Tables tables{tile_offset, rank, num_sites, num_groups, tile_ranks};
    std::vector<Unit> units = units_of(
        {chunk_slot, chunk_start, chunk_len, num_chunks}, num_slices, EXPAND_ROWS, EXPAND_COLUMNS,
        [=](int64_t slot, int64_t slice) -> int64_t {
            bool is_target = rank[tables.at(slot, site + slice)] > 0;
            return is_target ? out_start[slice + 1] - out_start[slice] : 0;
        });
    with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        int64_t num_units = units.size();
#pragma omp parallel for schedule(dynamic) if (num_units > 1)
        for (int64_t u = 0; u < num_units; u++) {
            const Unit& unit = units[u];
            int64_t at = tables.at(unit.slot, site + unit.slice), s = unit.slice;
            const T* gains = gain_offset[at] == NO_GAIN ? nullptr : (const T*)arena + gain_offset[at];
            expand_unit(unit, (T*)y + out_start[s], y_stride, row_index,
                        shrunk + s * shrunk_slice_stride, shrunk_stride, (const T*)arena,
                        tables.tiles(at), tile_ranks, rank[at], gains,
                        out_start[s + 1] - out_start[s]);
        }
    });
}
