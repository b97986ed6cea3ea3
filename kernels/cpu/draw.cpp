// Draws tokens from logits: temperature, top-k, top-p, min-p, then the inverse of the CDF.
//
// Nothing is sorted. What a filter keeps is all up to some distance from the largest logit, and
// that distance is found digit by digit, as a radix sort would, among fewer and fewer tokens.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <memory>
#include <vector>

#include "simd.h"
#include "functions.h"

namespace {

constexpr int64_t BLOCK = 512;  // tokens whose weights are summed before it is known who is drawn

typedef float HalfFloats __attribute__((vector_size(sizeof(Floats) / 2)));
typedef double Doubles __attribute__((vector_size(sizeof(Floats))));

// A sum of floats in float64, always in the same order.
struct Sum {
    Doubles low = {}, high = {};

    void add(Floats value) {
        HalfFloats halves[2];
        std::memcpy(halves, &value, sizeof value);
        low += __builtin_convertvector(halves[0], Doubles);
        high += __builtin_convertvector(halves[1], Doubles);
    }
    double total() const {
        Doubles both = low + high;
        double result = 0;
        for (int i = 0; i < LANES / 2; i++) result += both[i];
        return result;
    }
};

// How far each logit of a row is below the largest, in units of the temperature.
struct Row {
    const float* logits;
    int64_t size;
    float largest, temperature;

    // Of the tokens from `first` on. Past the last it is NaN, which no limit keeps.
    Floats distances(int64_t first) const {
        Floats values;
        if (first + LANES <= size) {
            values = load(logits + first);
        } else {
            values = splat(NAN);
            std::memcpy(&values, logits + first, (size - first) * sizeof(float));
        }
        return (largest - values) / temperature;
    }
};

// The distance up to which tokens are kept. Tokens of equal logits stay or go together.
inline Floats kept_weights(Floats distances, float limit) {
    return distances <= splat(limit) ? exp(-distances) : Floats{};
}

struct Candidate {
    uint32_t key;  // the bits of a distance: they order floats that are not negative
    float weight;
};

// The tokens of a row among which a limit is looked for.
class Candidates {
   public:
    // Those up to `limit`. Returns the weight, given by a function of distances, of all of them,
    // also of those beyond `reach`, which are not candidates.
    template <typename WeightOf>
    double collect(const Row& row, float limit, float reach, WeightOf weight_of) {
        if (!list) list.reset(new Candidate[row.size + LANES]);
        count = 0;
        Sum sum;
        for (int64_t first = 0; first < row.size; first += LANES) {
            Floats distances = row.distances(first);
            Floats weights = distances <= splat(limit) ? weight_of(distances) : Floats{};
            sum.add(weights);
            Bits keys = (Bits)distances;
            Ints is_near = distances <= splat(std::min(limit, reach));
            for (int i = 0; i < LANES; i++) {
                list[count] = {keys[i], weights[i]};
                count -= is_near[i];
            }
        }
        return sum.total();
    }

    // The least distance up to which they weigh `wanted`, or else all that weighs anything.
    float distance_holding(double wanted) {
        uint32_t key = 0;
        double held = 0;
        for (int shift : {20, 10, 0}) {
            double weights[2048] = {};
            for (int64_t i = 0; i < count; i++)
                weights[(list[i].key - key) >> shift] += list[i].weight;
            uint32_t digit = 0;
            for (uint32_t next = 1; next < 2048 && held + weights[digit] < wanted; next++)
                if (weights[next] > 0) {
                    held += weights[digit];
                    digit = next;
                }
            key += digit << shift;
            keep(key >> shift, shift);
        }
        float distance;
        std::memcpy(&distance, &key, sizeof distance);
        return distance;
    }

   private:
    void keep(uint32_t prefix, int shift) {
        int64_t kept = 0;
        for (int64_t i = 0; i < count; i++) {
            list[kept] = list[i];
            kept += list[i].key >> shift == prefix;
        }
        count = kept;
    }

    std::unique_ptr<Candidate[]> list;
    int64_t count = 0;
};

// The lowest id among equal maxima.
int64_t first_of_largest(const float* logits, int64_t size) {
    Floats largest = splat(-INFINITY);
    Ints at = {}, where = {};
    for (int i = 0; i < LANES; i++) at[i] = i;
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES, at += LANES) {
        Floats values = load(logits + i);
        where = values > largest ? at : where;
        largest = values > largest ? values : largest;
    }
    float best = -INFINITY;
    int64_t token = 0;
    for (int lane = 0; lane < LANES; lane++)
        if (largest[lane] > best || (largest[lane] == best && where[lane] < token)) {
            best = largest[lane];
            token = where[lane];
        }
    for (; i < size; i++)
        if (logits[i] > best) {
            best = logits[i];
            token = i;
        }
    return token;
}

float limit_of(const Row& row, int64_t top_k, double top_p, double min_p, Candidates& candidates) {
    float limit = INFINITY;
    if (0 < top_k && top_k < row.size) {
        candidates.collect(row, INFINITY, INFINITY, [](Floats) { return splat(1.0f); });
        limit = candidates.distance_holding(double(top_k));
    }
    if (top_p < 1) {
        // The largest weighs 1, and all beyond this together less than 1 - top_p: the nucleus
        // ends before.
        float reach = float(std::log(double(row.size) / (1 - top_p))) + 1;
        double total = candidates.collect(row, limit, reach, [](Floats d) { return exp(-d); });
        limit = candidates.distance_holding(top_p * total);
    }
    if (min_p > 0) limit = std::min(limit, float(-std::log(min_p)));
    return limit;
}

// The first token at which the kept weights, summed in the order of ids, exceed the share `number`.
int64_t invert(const Row& row, float limit, double number, std::vector<double>& sums) {
    sums.clear();
    double total = 0;
    for (int64_t start = 0; start < row.size; start += BLOCK) {
        Sum sum;
        int64_t stop = std::min(start + BLOCK, row.size);
        for (int64_t first = start; first < stop; first += LANES)
            sum.add(kept_weights(row.distances(first), limit));
        sums.push_back(total);
        total += sum.total();
    }
    double drawn = number * total;
    // The last block that begins at or below it; sums[0] is 0.
    int64_t block = std::upper_bound(sums.begin(), sums.end(), drawn) - sums.begin() - 1;
    int64_t stop = std::min((block + 1) * BLOCK, row.size), last_kept = 0;
    double sum = sums[block];
    for (int64_t first = block * BLOCK; first < stop; first += LANES) {
        Floats weights = kept_weights(row.distances(first), limit);
        for (int i = 0; i < LANES; i++) {
            sum += weights[i];
            if (weights[i] > 0) last_kept = first + i;
            if (sum > drawn) return last_kept;
        }
    }
    return last_kept;  // the block as a whole had one more bit of weight
}

}  // namespace

// token_ids is [num_rows], logits [num_rows, vocab]; the others are a DrawBatch.
extern "C" void motet_draw(
    int64_t* token_ids, const float* logits, const double* temperature, const int64_t* top_k,
    const double* top_p, const double* min_p, const double* number, int64_t num_rows,
    int64_t vocab) {
#pragma omp parallel if (num_rows > 1 && num_rows * vocab > 1 << 14)
    {
        Candidates candidates;  // of one thread
        std::vector<double> sums;
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < num_rows; r++) {
            const float* row = logits + r * vocab;
            token_ids[r] = first_of_largest(row, vocab);
            if (temperature[r] > 0) {
                // Below the smallest normal float, distances would be 0 / 0.
                float units = float(std::max(temperature[r], double(FLT_MIN)));
                Row distances = {row, vocab, row[token_ids[r]], units};
                float limit = limit_of(distances, top_k[r], top_p[r], min_p[r], candidates);
                token_ids[r] = invert(distances, limit, number[r], sums);
            }
        }
    }
}
