// Rotary position embedding, and where keys and values are kept.

#include "simd.h"

// Turns one head in place: dimension i of its first half with i of its second. The products are
// rounded in the order of the reference.
template <typename T>
static void turn(T* head, const T* cos, const T* sin, int64_t half) {
    T* other = head + half;
    int64_t i = 0;
    for (; i + LANES <= half; i += LANES) {
        Floats first = load(head + i), second = load(other + i);
        Floats c = load(cos + i), s = load(sin + i);
        store(head + i, rounded<T>(first * c) - rounded<T>(second * s));
        store(other + i, rounded<T>(second * c) + rounded<T>(first * s));
    }
    if (i < half) {  // a last vector, partly of zeros
        int64_t rest = half - i;
        Floats first = load_some(head + i, rest), second = load_some(other + i, rest);
        Floats c = load_some(cos + i, rest), s = load_some(sin + i, rest);
        store_some(head + i, rounded<T>(first * c) - rounded<T>(second * s), rest);
        store_some(other + i, rounded<T>(second * c) + rounded<T>(first * s), rest);
    }
}

// heads is [num_tokens, num_heads + 2 * num_kv_heads, head_dim]: queries, keys, values; cos and
// sin are [num_tokens, head_dim / 2]. kv is a layer of the arena, [num_pages, 2, page_tokens,
// num_kv_heads, head_dim] where a token's heads lie side by side. Strides count elements.
extern "C" void motet_rotate_and_write_kv(
    void* heads, const void* cos, const void* sin, void* kv, const void* kv_index,
    int64_t num_tokens, int64_t num_heads, int64_t num_kv_heads, int64_t head_dim,
    int64_t page_tokens, int64_t token_stride, int64_t head_stride, int64_t page_stride,
    int64_t side_stride, int64_t dtype) {
    with_dtype(dtype, [=](auto zero) {
        using T = decltype(zero);
        int64_t half = head_dim / 2, num_turned = num_heads + num_kv_heads;
#pragma omp parallel for schedule(static) if (num_tokens * num_turned * head_dim > 1 << 14)
        for (int64_t t = 0; t < num_tokens; t++) {
            T* head = (T*)heads + t * token_stride;
            for (int64_t h = 0; h < num_turned; h++)
                turn(head + h * head_stride, (const T*)cos + t * half, (const T*)sin + t * half,
                     half);
            int64_t slot = ((const int64_t*)kv_index)[t];
            T* page = (T*)kv + slot / page_tokens * page_stride;
            T* keys = page + slot % page_tokens * num_kv_heads * head_dim;
            T* values = keys + side_stride;
            const T* key = head + num_heads * head_stride;
            const T* value = key + num_kv_heads * head_stride;
            for (int64_t h = 0; h < num_kv_heads; h++) {
                std::memcpy(keys + h * head_dim, key + h * head_stride, head_dim * sizeof(T));
                std::memcpy(values + h * head_dim, value + h * head_stride, head_dim * sizeof(T));
            }
        }
    });
}
