// Draws tokens from logits: temperature, top-k, top-p, min-p, then the inverse of the CDF.
//
// Nothing is sorted. What a filter keeps is all up to some distance from the largest logit, which
// is looked for in a histogram, then in one bucket of it.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "simd.h"
#include "functions.h"

namespace {

constexpr int64_t BLOCK = 512;  // tokens that are summed at once, on the way to the drawn one
constexpr int BUCKETS = 2048;   // of a histogram

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
    Floats distances(int64_t first) const { return (largest - values(first)) / temperature; }
    Floats values(int64_t first) const {
        if (first + LANES <= size) return load(logits + first);
        Floats some = splat(NAN);
        std::memcpy(&some, logits + first, (size - first) * sizeof(float));
        return some;
    }
};

inline Floats kept_weights(Floats distances, float limit) {
    return distances <= splat(limit) ? exp(-distances) : Floats{};
}

// Places in a histogram of distances: equal buckets below the span, the last for all beyond.
struct Buckets {
    float span;

    // Spans what the row does, but no farther than what, with e^-24 each, seldom decides.
    explicit Buckets(const Row& row) {
        Floats lowest = splat(row.largest);
        for (int64_t first = 0; first < row.size; first += LANES) {
            Floats values = row.values(first);
            lowest = values < lowest ? values : lowest;
        }
        float least = lowest[0];
        for (int i = 1; i < LANES; i++) least = std::min(least, lowest[i]);
        span = std::max(1e-6f, std::min(24.0f, (row.largest - least) / row.temperature));
    }
    Ints of(Floats distances) const {
        Floats places = distances * ((BUCKETS - 1) / span);
        return __builtin_convertvector(distances < splat(span) ? places : splat(BUCKETS - 1), Ints);
    }
};

// The bucket in which `held` and the weights up to there come to `wanted`, or else the last that
// weighs anything. Adds to `held` what lies before it.
int bucket_reaching(double wanted, const double* weights, double& held) {
    int found = 0;
    for (int next = 1; next < BUCKETS && held + weights[found] < wanted; next++)
        if (weights[next] > 0) {
            held += weights[found];
            found = next;
        }
    return found;
}

struct Candidate {
    uint32_t key;  // the bits of a distance: they order floats that are not negative
    float weight;
};

// The least distance at which `held` and the weights of the candidates up to it come to `wanted`:
// digit by digit, as a radix sort would, among fewer and fewer.
float distance_reaching(double wanted, std::vector<Candidate>& candidates, double held) {
    uint32_t key = 0;
    for (int shift : {20, 10, 0}) {
        double weights[BUCKETS] = {};
        for (Candidate c : candidates) weights[(c.key - key) >> shift] += c.weight;
        key += uint32_t(bucket_reaching(wanted, weights, held)) << shift;
        auto is_other = [=](Candidate c) { return c.key >> shift != key >> shift; };
        candidates.erase(std::remove_if(candidates.begin(), candidates.end(), is_other),
                         candidates.end());
    }
    float distance;
    std::memcpy(&distance, &key, sizeof distance);
    return distance;
}

// The least distance up to which tokens come to a weight: `wanted_of` the weight of all tokens up
// to `limit`, where `weight_of` distances is theirs. `candidates` is memory to work in.
template <typename WeightOf, typename WantedOf>
float distance_reaching(WantedOf wanted_of, const Row& row, float limit, WeightOf weight_of,
                        std::vector<Candidate>& candidates) {
    Buckets buckets(row);
    double weights[BUCKETS] = {};
    Sum far;
    for (int64_t first = 0; first < row.size; first += LANES) {
        Floats distances = row.distances(first);
        if (!any(distances <= splat(limit))) continue;
        Floats some = distances <= splat(limit) ? weight_of(distances) : Floats{};
        if (any(distances < splat(buckets.span))) {
            Ints places = buckets.of(distances);
            for (int i = 0; i < LANES; i++) weights[places[i]] += some[i];
        } else {
            far.add(some);
        }
    }
    weights[BUCKETS - 1] += far.total();
    double total = 0, held = 0;
    for (double weight : weights) total += weight;
    double wanted = wanted_of(total);
    int found = bucket_reaching(wanted, weights, held);
    candidates.clear();
    for (int64_t first = 0; first < row.size; first += LANES) {
        Floats distances = row.distances(first);
        Ints is_in = (buckets.of(distances) == found) & (distances <= splat(limit));
        if (!any(is_in)) continue;
        Floats some = weight_of(distances);
        for (int i = 0; i < LANES; i++)
            if (is_in[i]) candidates.push_back({((Bits)distances)[i], some[i]});
    }
    return distance_reaching(wanted, candidates, held);
}

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

// The distance up to which tokens are kept. Those of equal logits stay or go together.
float limit_of(const Row& row, int64_t top_k, double top_p, double min_p,
               std::vector<Candidate>& candidates) {
    float limit = INFINITY;
    if (0 < top_k && top_k < row.size)
        limit = distance_reaching(
            [=](double) { return double(top_k); }, row, limit, [](Floats) { return splat(1); },
            candidates);
    if (top_p < 1)
        limit = distance_reaching(
            [=](double total) { return top_p * total; }, row, limit,
            [](Floats distances) { return exp(-distances); }, candidates);
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
        for (int64_t first = start; first < stop; first += LANES) {
            Floats distances = row.distances(first);
            if (any(distances <= splat(limit))) sum.add(kept_weights(distances, limit));
        }
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
        std::vector<Candidate> candidates;  // memory of one thread, as are the sums
        std::vector<double> sums;
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < num_rows; r++) {
            const float* row = logits + r * vocab;
            token_ids[r] = first_of_largest(row, vocab);
            if (temperature[r] > 0) {
                // Below the smallest normal float, distances would be 0 / 0.
                float units = float(std::max(temperature[r], double(FLT_MIN)));
                float largest = row[token_ids[r]] + 0.0f;  // or -0 - 0 were a distance of -0
                Row scaled = {row, vocab, largest, units};
                float limit = limit_of(scaled, top_k[r], top_p[r], min_p[r], candidates);
                token_ids[r] = invert(scaled, limit, number[r], sums);
            }
        }
    }
}
