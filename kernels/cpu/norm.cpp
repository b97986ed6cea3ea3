// The root mean square norm, and the sum before it.

#include <cmath>

#include "simd.h"

// x += delta where there is one, rounded; returns the sum of squares of what x then is.
template <typename T>
static float add_and_square(T* x, const T* delta, int64_t size) {
    Floats squares = {};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) {
        Floats value = load(x + i);
        if (delta) {
            value = rounded<T>(value + load(delta + i));
            store(x + i, value);
        }
        squares += value * value;
    }
    if (i < size) {  // a last vector, partly of zeros
        int64_t rest = size - i;
        Floats value = load_some(x + i, rest);
        if (delta) {
            value = rounded<T>(value + load_some(delta + i, rest));
            store_some(x + i, value, rest);
        }
        squares += value * value;
    }
    return sum(squares);
}

// Rows are [num_tokens, num_heads, size] of x and out, whose strides count elements; delta is
// contiguous or null, weight is [size]. out may be x.
extern "C" void motet_add_rms_norm(
    void* out, void* x, const void* delta, const void* weight, int64_t num_tokens,
    int64_t num_heads, int64_t size, int64_t out_token_stride, int64_t out_head_stride,
    int64_t x_token_stride, int64_t x_head_stride, float epsilon, int64_t dtype) {
    with_dtype(dtype, [=](auto zero) {
        using T = decltype(zero);
        int64_t num_rows = num_tokens * num_heads;
#pragma omp parallel for schedule(static) if (num_rows * size > 1 << 14)
        for (int64_t row = 0; row < num_rows; row++) {
            int64_t token = row / num_heads, head = row % num_heads;
            T* from = (T*)x + token * x_token_stride + head * x_head_stride;
            T* to = (T*)out + token * out_token_stride + head * out_head_stride;
            const T* added = delta ? (const T*)delta + row * size : nullptr;
            const T* weights = (const T*)weight;
            float mean = add_and_square(from, added, size) / float(size);
            float scale = 1.0f / std::sqrt(mean + epsilon);
            int64_t i = 0;
            for (; i + LANES <= size; i += LANES)
                store(to + i, load(weights + i) * rounded<T>(load(from + i) * scale));
            if (i < size) {
                int64_t rest = size - i;
                Floats normed = rounded<T>(load_some(from + i, rest) * scale);
                store_some(to + i, load_some(weights + i, rest) * normed, rest);
            }
        }
    });
}
