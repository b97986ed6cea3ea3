// Attention over paged KV, of mixed rows: single new tokens and chunks of prompts.
//
// An item is one query with one of the heads that share a KV head. What is computed for an item
// depends on its query and on what that sees, on nothing else: positions are walked in blocks and
// splits that begin at multiples of their size, counted from the first position of the sequence.
//
//   position   0 . . . . . . . . 512 . . . . . . . . 1024 . . .
//   splits     |                 |                   |            softmax begins anew in each,
//   blocks     |  |  |  |  |  |  |  |  |  |  |  |  | |  |  |      online from block to block
//   seen                [                      )                  (arXiv:1805.02867)
//
// The sums of the splits are merged in the order of positions, by one thread or by several.
// Both products, scores = queries x keys and sums += weights x values, add in the order of their
// inner dimension, each lane for itself, so that the items computed beside one change no bit of it.

#include <algorithm>
#include <utility>
#include <vector>

#include "functions.h"
#include "simd.h"

namespace {

constexpr int BLOCK = 32;   // positions
constexpr int SPLIT = 512;  // positions
constexpr int TILE = 6;     // most items in one product: two vectors of each fill the registers
constexpr int ITEMS = 128;  // of one unit, for which keys and values are staged once

constexpr int VECTORS = BLOCK / LANES;
constexpr float LOWEST = -3.402823466e38f;
static_assert(SPLIT % BLOCK == 0 && BLOCK % LANES == 0, "a vector lies in one block and split");

struct Shape {  // as in attention.py
    int64_t out_token_stride, out_head_stride, query_token_stride, query_head_stride;
    int64_t page_stride, layer_stride, side_stride, token_stride, head_stride, table_stride;
    int64_t num_rows, num_heads, page_tokens, kv_heads, head_dim, layer, window, dtype;
};

struct Call : Shape {
    void* out;                   // [num_tokens, num_heads, head_dim]
    const void* query;           // the same
    const void* kv;              // [num_pages, num_layers, 2, page_tokens, kv_heads, head_dim]
    const int32_t* query_start;  // these as in AttentionBatch
    const int32_t* context_len;
    const int32_t* page_table;
    float scale;
    int64_t group = num_heads / kv_heads;
    int64_t width = (head_dim + LANES - 1) / LANES * LANES;  // in whole vectors
};

// Consecutive queries of a row, with the heads of one KV head, over splits [split, split_end).
struct Unit {
    int64_t row, kv_head;
    int64_t token, num_queries;  // the first query: where it lies,
    int64_t position;            // and its position in the sequence
    int64_t split, split_end;
    int64_t part;  // where its sums lie when they are to be merged with others, else -1
};

// The positions that a query sees, [from, to).
struct Seen {
    int64_t from, to;
};

// What softmax has summed up so far: e^(score - highest) are the weights.
struct Sums {
    float* values;   // [items, width], weighted
    float* highest;  // [items]
    float* total;    // [items], of the weights
};

struct alignas(64) Line {
    float floats[16];
};

// Floats that begin with a cache line.
class Buffer {
  public:
    explicit Buffer(int64_t floats) : lines_((floats + 15) / 16) {}
    float* data() { return (float*)lines_.data(); }

  private:
    std::vector<Line> lines_;
};

int64_t floats_of_sums(const Call& call, int64_t items) {
    return (items * (call.width + 2) + 15) / 16 * 16;
}

Sums sums_at(const Call& call, float* memory, int64_t items) {
    float* highest = memory + items * call.width;
    return {memory, highest, highest + items};
}

// What one thread works in.
struct Workspace {
    Workspace(const Call& call, int64_t items)
        : query(items * call.head_dim),
          keys(call.width * BLOCK),
          values(BLOCK * call.width),
          scores(TILE * BLOCK),
          merged(floats_of_sums(call, items)),
          split(floats_of_sums(call, items)) {}

    Buffer query;   // [items, head_dim], scaled
    Buffer keys;    // [width, BLOCK]
    Buffer values;  // [BLOCK, width]
    Buffer scores;  // [TILE, BLOCK]
    Buffer merged;  // sums of all splits so far
    Buffer split;   // sums of one split
};

Seen seen_at(const Call& call, int64_t position) {
    return {std::max<int64_t>(0, position - call.window + 1), position + 1};
}

// -- Products of few rows: every output adds in the order of the inner dimension.

struct Matrix {
    float* data;
    int64_t stride;
};

template <int ROWS, int WIDE, bool ADDS>
inline void multiply(
    Matrix out, Matrix left, Matrix right, int64_t column, int64_t from, int64_t to) {
    Floats sums[ROWS][WIDE];
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < WIDE; n++)
            sums[m][n] = ADDS ? load(out.data + m * out.stride + column + n * LANES) : Floats{};
    for (int64_t k = from; k < to; k++) {
        Floats row[WIDE];
        for (int n = 0; n < WIDE; n++)
            row[n] = load(right.data + k * right.stride + column + n * LANES);
        for (int m = 0; m < ROWS; m++) {
            Floats factor = splat(left.data[m * left.stride + k]);
            for (int n = 0; n < WIDE; n++) sums[m][n] = multiply_add(factor, row[n], sums[m][n]);
        }
    }
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < WIDE; n++)
            store(out.data + m * out.stride + column + n * LANES, sums[m][n]);
}

// out[:, column:end] = left[:, from:to] x right[from:to, column:end], or added to it. Columns are
// whole vectors.
template <int ROWS, bool ADDS>
void product(
    Matrix out, Matrix left, Matrix right, int64_t column, int64_t end, int64_t from, int64_t to) {
    if (ROWS <= 3)  // else two vectors of each row keep the multipliers busy
        for (; column + 4 * LANES <= end; column += 4 * LANES)
            multiply<ROWS, 4, ADDS>(out, left, right, column, from, to);
    for (; column + 2 * LANES <= end; column += 2 * LANES)
        multiply<ROWS, 2, ADDS>(out, left, right, column, from, to);
    if (column < end) multiply<ROWS, 1, ADDS>(out, left, right, column, from, to);
}

template <bool ADDS>
constexpr decltype(&product<1, ADDS>) PRODUCT[TILE + 1] = {
    nullptr,          product<1, ADDS>, product<2, ADDS>, product<3, ADDS>,
    product<4, ADDS>, product<5, ADDS>, product<6, ADDS>};

// -- Staging: what a unit reads of pages lies in the first cache while its items use it.

template <int HALF, int... K>
inline void swap_halves(Floats& a, Floats& b, std::integer_sequence<int, K...>) {
    Floats first = __builtin_shufflevector(a, b, (K & HALF ? LANES + K - HALF : K)...);
    b = __builtin_shufflevector(a, b, (K & HALF ? LANES + K : K + HALF)...);
    a = first;
}

// Swaps the squares of HALF x HALF beside the diagonal, then those within each square.
template <int HALF = LANES / 2>
inline void transpose(Floats (&rows)[LANES]) {
    for (int i = 0; i < LANES; i++)
        if (!(i & HALF))
            swap_halves<HALF>(rows[i], rows[i + HALF], std::make_integer_sequence<int, LANES>());
    if constexpr (HALF > 1) transpose<HALF / 2>(rows);
}

template <typename T>
void stage_queries(const Call& call, const Unit& unit, float* staged) {
    for (int64_t i = 0; i < unit.num_queries * call.group; i++) {
        const T* query = (const T*)call.query +
                         (unit.token + i / call.group) * call.query_token_stride +
                         (unit.kv_head * call.group + i % call.group) * call.query_head_stride;
        for (int64_t d = 0; d < call.head_dim; d++)
            staged[i * call.head_dim + d] = widen(query[d]) * call.scale;
    }
}

// The keys of a block of positions, in the pages. Only [from, to) are seen by any item of the unit:
// the others are never read, since their pages may hold NaN or not be there.
template <typename T>
struct Block {
    int64_t from, to;
    const T* keys[BLOCK];
};

// The block that begins at `start`, where positions `seen` are.
template <typename T>
Block<T> find_block(const Call& call, const Unit& unit, int64_t start, Seen seen) {
    Block<T> block;
    block.from = std::clamp<int64_t>(seen.from - start, 0, BLOCK);
    block.to = std::clamp<int64_t>(seen.to - start, 0, BLOCK);
    const T* heads = (const T*)call.kv + call.layer * call.layer_stride +
                     unit.kv_head * call.head_stride;
    const int32_t* page = call.page_table + unit.row * call.table_stride +
                          (start + block.from) / call.page_tokens;
    int64_t offset = (start + block.from) % call.page_tokens;
    for (int64_t j = block.from; j < block.to; j++) {
        block.keys[j] = heads + *page * call.page_stride + offset * call.token_stride;
        if (++offset == call.page_tokens) {
            offset = 0;
            page++;
        }
    }
    // Any key will do where the score is not looked at.
    std::fill(block.keys, block.keys + block.from, block.keys[block.from]);
    std::fill(block.keys + block.to, block.keys + BLOCK, block.keys[block.from]);
    return block;
}

// Stages the keys of a block, turned, and its values. Each is fetched from memory while what comes
// before it is staged: all at once they would only wait.
template <typename T>
void stage(const Call& call, const Block<T>& block, const Block<T>& next, Workspace& own) {
    int64_t whole = call.head_dim / LANES * LANES, rest = call.head_dim - whole;
    for (int64_t j = block.from / LANES * LANES; j < block.to; j += LANES)
        for (int64_t d = 0; d < call.head_dim; d += LANES) {
            Floats rows[LANES];
            for (int i = 0; i < LANES; i++) {
                const T* key = block.keys[j + i] + d;
                rows[i] = d < whole ? load(key) : load_some(key, rest);
                if (d * sizeof(T) % sizeof(Line) == 0)
                    __builtin_prefetch(key + call.side_stride);
            }
            transpose(rows);
            for (int i = 0; i < LANES; i++) store(own.keys.data() + (d + i) * BLOCK + j, rows[i]);
        }
    for (int64_t j = block.from; j < block.to; j++) {
        const T* value = block.keys[j] + call.side_stride;
        float* staged = own.values.data() + j * call.width;
        for (int64_t d = 0; d < whole; d += LANES) {
            if (d * sizeof(T) % sizeof(Line) == 0) __builtin_prefetch(next.keys[j] + d);
            store(staged + d, load(value + d));
        }
        if (rest) store(staged + whole, load_some(value + whole, rest));
    }
}

// -- Softmax. These stay functions of their own: as a part of several others, the compiler might
// fuse products with sums in one and not in another.

// Makes weights of the scores [from, to) of a block. Returns what older sums shrink by.
__attribute__((noinline)) float weigh(
    float* scores, int from, int to, float& highest, float& total) {
    if (to - from < BLOCK) {
        std::fill(scores, scores + from, -__builtin_inff());
        std::fill(scores + to, scores + BLOCK, -__builtin_inff());
    }
    Floats most = splat(highest);
    for (int n = 0; n < VECTORS; n++) {
        Floats score = load(scores + n * LANES);
        most = score > most ? score : most;
    }
    float higher = largest(most);
    Floats weights = {};
    for (int n = 0; n < VECTORS; n++) {
        Floats weight = exp_of_negative(load(scores + n * LANES) - higher);
        store(scores + n * LANES, weight);
        weights += weight;
    }
    float by = higher == highest ? 1 : exp_of_negative(splat(highest - higher))[0];
    total = total * by + sum(weights);
    highest = higher;
    return by;
}

__attribute__((noinline)) void shrink(float* values, int64_t width, float by) {
    for (int64_t d = 0; d < width; d += LANES) store(values + d, load(values + d) * by);
}

// Adds the sums over later positions. Items that saw none of them stay as they are.
__attribute__((noinline)) void merge(Sums all, Sums later, int64_t items, int64_t width) {
    for (int64_t i = 0; i < items; i++) {
        if (later.total[i] == 0) continue;
        float highest = std::max(all.highest[i], later.highest[i]);
        float by = exp_of_negative(splat(all.highest[i] - highest))[0];
        float later_by = exp_of_negative(splat(later.highest[i] - highest))[0];
        float* values = all.values + i * width;
        for (int64_t d = 0; d < width; d += LANES) {
            Floats more = load(later.values + i * width + d) * later_by;
            store(values + d, load(values + d) * by + more);
        }
        all.total[i] = all.total[i] * by + later.total[i] * later_by;
        all.highest[i] = highest;
    }
}

void clear(Sums sums, int64_t items, int64_t width) {
    std::fill(sums.values, sums.values + items * width, 0.0f);
    std::fill(sums.highest, sums.highest + items, LOWEST);
    std::fill(sums.total, sums.total + items, 0.0f);
}

// -- Units of work.

// Adds the staged block that begins at `start` to the sums of items [first, first + count).
void attend_tile(
    const Call& call, const Unit& unit, int64_t start, int64_t first, int64_t count,
    Workspace& own, Sums sums) {
    // What each item sees of the block, what any does, and what all do.
    Seen seen[TILE], any = {BLOCK, 0}, all = {0, BLOCK};
    for (int64_t m = 0; m < count; m++) {
        seen[m] = seen_at(call, unit.position + (first + m) / call.group);
        seen[m].from = std::clamp<int64_t>(seen[m].from - start, 0, BLOCK);
        seen[m].to = std::clamp<int64_t>(seen[m].to - start, seen[m].from, BLOCK);
        any = {std::min(any.from, seen[m].from), std::max(any.to, seen[m].to)};
        all = {std::max(all.from, seen[m].from), std::min(all.to, seen[m].to)};
    }
    if (any.from >= any.to) return;
    if (all.from > all.to) all.from = all.to = any.from;

    Matrix query = {own.query.data() + first * call.head_dim, call.head_dim};
    Matrix keys = {own.keys.data(), BLOCK}, values = {own.values.data(), call.width};
    Matrix scores = {own.scores.data(), BLOCK};
    Matrix summed = {sums.values + first * call.width, call.width};
    int64_t end = (any.to + LANES - 1) / LANES * LANES;
    PRODUCT<false>[count](scores, query, keys, any.from / LANES * LANES, end, 0, call.head_dim);

    // Weights of what an item does not see are never multiplied: 0 x NaN would be NaN.
    auto add = [&](int64_t m, int64_t from, int64_t to) {
        if (from >= to) return;
        Matrix item = {summed.data + m * call.width, call.width};
        Matrix weights = {scores.data + m * BLOCK, BLOCK};
        PRODUCT<true>[1](item, weights, values, 0, call.width, from, to);
    };
    for (int64_t m = 0; m < count; m++) {
        if (seen[m].from == seen[m].to) continue;
        int64_t item = first + m;
        float by = weigh(
            scores.data + m * BLOCK, seen[m].from, seen[m].to, sums.highest[item],
            sums.total[item]);
        if (by != 1) shrink(sums.values + item * call.width, call.width, by);
        add(m, seen[m].from, std::min(all.from, seen[m].to));
    }
    if (all.from < all.to)
        PRODUCT<true>[count](summed, scores, values, 0, call.width, all.from, all.to);
    for (int64_t m = 0; m < count; m++) add(m, std::max(all.to, seen[m].from), seen[m].to);
}

template <typename T>
void attend_split(
    const Call& call, const Unit& unit, int64_t split, Workspace& own, Sums sums) {
    int64_t items = unit.num_queries * call.group;
    clear(sums, items, call.width);
    Seen seen = {std::max(seen_at(call, unit.position).from, split * SPLIT),
                 std::min(unit.position + unit.num_queries, (split + 1) * SPLIT)};
    int64_t start = seen.from / BLOCK * BLOCK;
    Block<T> next = find_block<T>(call, unit, start, seen);
    for (; start < seen.to; start += BLOCK) {
        const Block<T> block = next;
        if (start + BLOCK < seen.to) next = find_block<T>(call, unit, start + BLOCK, seen);
        stage(call, block, next, own);
        for (int64_t first = 0, count; first < items; first += count) {
            int64_t left = items - first, tiles = (left + TILE - 1) / TILE;
            count = (left + tiles - 1) / tiles;  // tiles of about the same size
            attend_tile(call, unit, start, first, count, own, sums);
        }
    }
}

template <typename T>
void write_out(const Call& call, const Unit& unit, Sums sums) {
    int64_t whole = call.head_dim / LANES * LANES, rest = call.head_dim - whole;
    for (int64_t i = 0; i < unit.num_queries * call.group; i++) {
        T* out = (T*)call.out + (unit.token + i / call.group) * call.out_token_stride +
                 (unit.kv_head * call.group + i % call.group) * call.out_head_stride;
        const float* values = sums.values + i * call.width;
        for (int64_t d = 0; d < whole; d += LANES)
            store(out + d, load(values + d) / sums.total[i]);
        if (rest) store_some(out + whole, load(values + whole) / sums.total[i], rest);
    }
}

template <typename T>
void attend(const Call& call, const Unit& unit, Workspace& own, float* parts) {
    int64_t items = unit.num_queries * call.group;
    stage_queries<T>(call, unit, own.query.data());
    if (unit.part >= 0)
        return attend_split<T>(
            call, unit, unit.split, own, sums_at(call, parts + unit.part, items));
    Sums merged = sums_at(call, own.merged.data(), items);
    Sums next = sums_at(call, own.split.data(), items);
    attend_split<T>(call, unit, unit.split, own, merged);
    for (int64_t split = unit.split + 1; split < unit.split_end; split++) {
        attend_split<T>(call, unit, split, own, next);
        merge(merged, next, items, call.width);
    }
    write_out<T>(call, unit, merged);
}

// Merges what the units of each split have left, in place.
template <typename T>
void attend_parts(const Call& call, const Unit& unit, float* parts) {
    int64_t items = unit.num_queries * call.group, floats = floats_of_sums(call, items);
    Sums merged = sums_at(call, parts + unit.part, items);
    for (int64_t i = 1; i < unit.split_end - unit.split; i++)
        merge(merged, sums_at(call, parts + unit.part + i * floats, items), items, call.width);
    write_out<T>(call, unit, merged);
}

struct Plan {
    std::vector<Unit> units;
    std::vector<Unit> merges;  // all splits of queries whose splits are units
    int64_t part_floats = 0;
    int64_t most_items = 0;
};

// Long rows are cut into blocks of queries, which go through their splits one after the other. A
// row of one block, such as a decode row, is cut into its splits: threads share a long context.
Plan plan_units(const Call& call) {
    Plan plan;
    const int64_t block = std::max<int64_t>(1, ITEMS / call.group);
    for (int64_t row = 0; row < call.num_rows; row++) {
        int64_t start = call.query_start[row], count = call.query_start[row + 1] - start;
        int64_t position = call.context_len[row] - count;
        // The last queries see most: they come first, so that no thread waits for them at the end.
        const int64_t num_blocks = (count + block - 1) / block;
        for (int64_t first = (num_blocks - 1) * block; first >= 0; first -= block) {
            Unit unit = {row, 0, start + first, std::min(block, count - first), position + first,
                         0, 0, -1};
            unit.split = seen_at(call, unit.position).from / SPLIT;
            unit.split_end = (unit.position + unit.num_queries - 1) / SPLIT + 1;
            int64_t items = unit.num_queries * call.group, floats = floats_of_sums(call, items);
            plan.most_items = std::max(plan.most_items, items);
            bool is_cut = num_blocks == 1 && unit.split_end - unit.split > 1;
            for (; unit.kv_head < call.kv_heads; unit.kv_head++) {
                if (!is_cut) {
                    plan.units.push_back(unit);
                    continue;
                }
                unit.part = plan.part_floats;
                plan.merges.push_back(unit);
                for (Unit one = unit; one.split < unit.split_end; one.split++) {
                    one.part = plan.part_floats;
                    plan.units.push_back(one);
                    plan.part_floats += floats;
                }
            }
        }
    }
    return plan;
}

template <typename T>
void attend_all(const Call& call) {
    const Plan plan = plan_units(call);
    const int64_t num_units = plan.units.size(), num_merges = plan.merges.size();
    Buffer parts(plan.part_floats);
#pragma omp parallel if (num_units > 1)
    {
        Workspace own(call, plan.most_items);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < num_units; i++)
            attend<T>(call, plan.units[i], own, parts.data());
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < num_merges; i++)
            attend_parts<T>(call, plan.merges[i], parts.data());
    }
}

}  // namespace

extern "C" void motet_paged_attention(
    void* out, const void* query, const void* kv, const int32_t* query_start,
    const int32_t* context_len, const int32_t* page_table, const void* shape, float scale) {
    const Call call = {
        read<Shape>(shape), out, query, kv, query_start, context_len, page_table, scale};
    with_dtype(call.dtype, [&](auto zero) { attend_all<decltype(zero)>(call); });
}
