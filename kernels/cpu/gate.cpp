// The gate of an MLP.

#include "simd.h"
#include "functions.h"

// out[t, i] = silu(gate_up[t, i]) * gate_up[t, width + i], in fp32, rounded once.
extern "C" void motet_silu_mul(
    void* out, const void* gate_up, int64_t num_tokens, int64_t width, int64_t dtype) {
    with_dtype(dtype, [=](auto zero) {
        using T = decltype(zero);
#pragma omp parallel for schedule(static) if (num_tokens * width > 1 << 14)
        for (int64_t t = 0; t < num_tokens; t++) {
            const T* gate = (const T*)gate_up + 2 * t * width;
            const T* up = gate + width;
            T* row = (T*)out + t * width;
            int64_t i = 0;
            for (; i + LANES <= width; i += LANES)
                store(row + i, silu(load(gate + i)) * load(up + i));
            if (i < width) {  // a last vector, partly of zeros
                int64_t rest = width - i;
                store_some(row + i, silu(load_some(gate + i, rest)) * load_some(up + i, rest), rest);
            }
        }
    });
}
