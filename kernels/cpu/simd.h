// Vectors of floats as wide as the processor's, and how elements of the arena become floats.
//
// Written with the compiler's vector extensions: one source for AVX2, AVX-512 and others. Sums are
// fp32 whatever the elements are. What these kernels compute for a row must not depend on the rows
// beside it nor on the number of threads: that is what makes deterministic mode possible.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint32_t Bits __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef uint16_t Halves __attribute__((vector_size(LANES * sizeof(uint16_t))));

// The bits of a number in one of the half formats; the types only tell the formats apart.
struct bf16 {
    uint16_t bits;
};
typedef _Float16 fp16;
typedef fp16 Float16s __attribute__((vector_size(LANES * sizeof(fp16))));

template <typename Vector, typename T>
inline Vector read(const T* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);  // no alignment is promised
    return vector;
}

inline Floats splat(float value) { return value - Floats{}; }

// a * b + c. Rounded once wherever the processor can: for plain products and sums the compiler
// decides that anew in each loop, and GCC decides against it where it sees a single chain of them.
inline Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

// Halves are converted by intrinsics: GCC 12 would take them one by one. Some are masked by all
// ones, since it warns of the plain ones.
inline Floats load(const float* from) { return read<Floats>(from); }
inline Floats load(const bf16* from) {
#if defined(__AVX512F__)
    Bits bits = (Bits)_mm512_maskz_cvtepu16_epi32(-1, read<__m256i>(from));
#elif defined(__AVX2__)
    Bits bits = (Bits)_mm256_cvtepu16_epi32(read<__m128i>(from));
#else
    Bits bits = __builtin_convertvector(read<Halves>(from), Bits);
#endif
    return (Floats)(bits << 16);
}
inline Floats load(const fp16* from) {
#if defined(__AVX512F__)
    return _mm512_maskz_cvtph_ps(-1, read<__m256i>(from));
#elif defined(__F16C__)
    return _mm256_cvtph_ps(read<__m128i>(from));
#else
    return __builtin_convertvector(read<Float16s>(from), Floats);
#endif
}

// The same value, read from memory no more often than the source says: GCC would rather read it
// again at each use than hold it.
inline Floats in_register(Floats value) {
#if defined(__x86_64__)
    asm("" : "+v"(value));
#endif
    return value;
}

inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }
// Whose upper halves are the nearest bf16, ties to even; a NaN stays one.
inline Bits nearest_bf16(Floats value) {
    Bits bits = (Bits)value;
    return value == value ? bits + 0x7fff + ((bits >> 16) & 1) : bits | 0x400000;
}
inline void store(bf16* to, Floats value) {
    Halves halves = __builtin_convertvector(nearest_bf16(value) >> 16, Halves);
    std::memcpy(to, &halves, sizeof halves);
}
inline void store(fp16* to, Floats value) {
#if defined(__AVX512F__)
    __m256i halves = _mm512_maskz_cvtps_ph(-1, value, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__)
    __m128i halves = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
#else
    Float16s halves = __builtin_convertvector(value, Float16s);
#endif
    std::memcpy(to, &halves, sizeof halves);
}

// What would be loaded after the value was stored as T.
template <typename T>
inline Floats rounded(Floats value) {
    T stored[LANES];
    store(stored, value);
    return load(stored);
}
template <>
inline Floats rounded<float>(Floats value) {
    return value;
}
template <>
inline Floats rounded<bf16>(Floats value) {
    return (Floats)(nearest_bf16(value) & 0xffff0000);
}

inline float widen(float value) { return value; }
inline float widen(fp16 value) { return value; }
inline float widen(bf16 value) {
    uint32_t bits = uint32_t(value.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

template <typename T>
inline T narrow(float value) {
    return T(value);
}
template <>
inline bf16 narrow<bf16>(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return {uint16_t(bits >> 16 | 0x40)};
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

// The first `count` elements; the others are zero, and nothing beyond them is touched.
template <typename T>
inline Floats load_some(const T* from, int64_t count) {
    T padded[LANES] = {};
    std::memcpy(padded, from, count * sizeof(T));
    return load(padded);
}

template <typename T>
inline void store_some(T* to, Floats value, int64_t count) {
    T padded[LANES];
    store(padded, value);
    std::memcpy(to, padded, count * sizeof(T));
}

inline float sum(Floats value) {  // always in the same order
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) value[i] += value[i + half];
    return value[0];
}

inline float largest(Floats value) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            value[i] = value[i + half] > value[i] ? value[i + half] : value[i];
    return value[0];
}

// Is any lane of a comparison true?
inline bool any(Ints mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask);
#elif defined(__AVX__)
    return _mm256_movemask_ps((__m256)mask);
#else
    int32_t joined = 0;
    for (int i = 0; i < LANES; i++) joined |= mask[i];
    return joined;
#endif
}

// Calls `run` with a zero of the element type that `dtype` stands for (see native.py).
template <typename Run>
inline void with_dtype(int64_t dtype, Run run) {
    switch (dtype) {
        case 0: return run(float{});
        case 1: return run(bf16{});
        case 2: return run(fp16{});
    }
}
