// Functions of vectors, each to about 1e-7 of its value.
#pragma once

#include "simd.h"

// e^x = 2^n * e^r with |r| <= ln(2)/2, and e^r by a polynomial (Cephes).
constexpr float ROUNDER = 12582912.0f;  // 1.5 * 2^23: added, it leaves an integer in the last bits

inline Floats shifted_exponent(Floats x) { return x * 1.44269504f + ROUNDER; }

inline Floats exp_of_rest(Floats x, Floats n) {
    Floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * r * r + r + 1.0f;
}

// e^x. Below -87 it is 0, above 88 infinite; NaN stays NaN.
inline Floats exp(Floats x) {
    Floats clamped = x < splat(-88.0f) ? splat(-88.0f) : x;
    clamped = clamped > splat(89.0f) ? splat(89.0f) : clamped;
    Floats n = shifted_exponent(clamped) - ROUNDER;
    // In two halves, since 2^128 is no float.
    Ints whole = __builtin_convertvector(n, Ints), half = whole >> 1;
    Floats first = (Floats)((half + 127) << 23), second = (Floats)((whole - half + 127) << 23);
    Floats result = exp_of_rest(clamped, n) * first * second;
    result = x < splat(-87.3f) ? splat(0.0f) : result;
    return x == x ? result : x;
}

// e^x of x <= 0, in fewer steps. Below -87 it is 0; NaN stays NaN.
inline Floats exp_of_negative(Floats x) {
    Floats clamped = x < splat(-87.0f) ? splat(-87.0f) : x;
    Floats shifted = shifted_exponent(clamped);
    Floats power = (Floats)(((Bits)shifted + 127) << 23);
    Floats result = exp_of_rest(clamped, shifted - ROUNDER) * power;
    return x < splat(-87.0f) ? splat(0.0f) : result;
}

inline Floats silu(Floats x) { return x / (1.0f + exp(-x)); }
