/* Vectors of 16 lanes, bfloat16 and the few functions of real numbers that a decoder needs.
 *
 * Everything is written with the vector extensions of GCC and clang, so it compiles for AVX-512, AVX2 and NEON alike;
 * intrinsics stand only where the extensions cannot say it. */
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifdef FORETHOUGHT_FLOAT32 /* what weights, activations and the cache are made of */
typedef float real;
#else
typedef uint16_t real; /* bfloat16 */
#endif
typedef float f16x __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16x __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u16x __attribute__((vector_size(64), aligned(4)));
typedef int8_t b16x __attribute__((vector_size(16), aligned(1)));
typedef uint16_t w16x __attribute__((vector_size(32), aligned(2)));

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

INLINE f16x load16(const float *p) { return *(const f16x *)p; }
INLINE void store16(float *p, f16x v) { *(f16x *)p = v; }
INLINE f16x splat(float x) { return x - (f16x){}; } /* "+" would be computed, for the sake of -0 */

INLINE float sum16(f16x v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);
#elif defined(__AVX2__)
  const float *p = (const float *)&v;
  const __m256 eight = _mm256_add_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
#else
  float s[16];
  store16(s, v);
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) s[i] += s[i + w];
  return s[0];
#endif
}

INLINE float max16(f16x v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#elif defined(__AVX2__)
  const float *p = (const float *)&v;
  const __m256 eight = _mm256_max_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
#else
  float m = v[0];
  for (int i = 1; i < 16; i++) m = v[i] > m ? v[i] : m;
  return m;
#endif
}

INLINE f16x select16(i16x mask, f16x a, f16x b) { return (f16x)((mask & (i16x)a) | (~mask & (i16x)b)); }

#if defined(__AVX512F__)
INLINE f16x vmax(f16x a, f16x b) { return (f16x)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE f16x vmin(f16x a, f16x b) { return (f16x)_mm512_min_ps((__m512)a, (__m512)b); }
#else
INLINE f16x vmax(f16x a, f16x b) { return select16(a > b, a, b); }
INLINE f16x vmin(f16x a, f16x b) { return select16(a < b, a, b); }
#endif
INLINE f16x clamp16(f16x x, float most) { return vmin(vmax(x, splat(-most)), splat(most)); }

/* 2^n * 2^(r / octave) for |r| at most half an octave, where `shifted` is n + 1.5 * 2^23. */
INLINE f16x scale_by_octaves(f16x p, f16x shifted) { return (f16x)((i16x)p + ((i16x)shifted << 23)); }

#define MAGIC 12582912.0f /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
#define LOG2_E 1.44269504f

#ifdef FORETHOUGHT_FLOAT32

/* e^x, relative error below 2e-7, clamped to normal numbers; Cody and Waite's reduction, Taylor's polynomial. */
INLINE f16x exp16(f16x x) {
  x = clamp16(x, 87.0f);
  const f16x shifted = x * LOG2_E + MAGIC, n = shifted - MAGIC;
  const f16x r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  f16x p = splat(1.98412698e-4f);
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  return scale_by_octaves(p, shifted);
}

#else

/* e^x for results that are rounded to bfloat16: relative error below 1e-5. A minimax polynomial of 2^r. */
INLINE f16x exp16(f16x x) {
  const f16x octaves = clamp16(x * LOG2_E, 126.0f), shifted = octaves + MAGIC, r = octaves - (shifted - MAGIC);
  f16x p = splat(1.327647111e-3f);
  p = p * r + 9.675541327e-3f;
  p = p * r + 5.550713276e-2f;
  p = p * r + 2.402211972e-1f;
  p = p * r + 6.931469671e-1f;
  p = p * r + 1.000000072f;
  return scale_by_octaves(p, shifted);
}

#endif

INLINE f16x silu16(f16x x) { return x / (1.0f + exp16(-x)); }

#ifdef FORETHOUGHT_FLOAT32

INLINE float from_real(real x) { return x; }
INLINE real to_real(float x) { return x; }
INLINE f16x load16_real(const real *p) { return load16(p); }
INLINE void store16_real(real *p, f16x v) { store16(p, v); }
INLINE void store32_real(real *p, f16x low, f16x high) {
  store16(p, low);
  store16(p + 16, high);
}

#else

INLINE float from_real(real h) {
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

INLINE real to_real(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  if ((u & 0x7fffffff) > 0x7f800000) return (real)((u >> 16) | 0x40); /* NaN stays NaN */
  return (real)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

INLINE w16x round16(f16x v) {
#if defined(__AVX512BF16__)
  return (w16x)_mm512_cvtneps_pbh((__m512)v);
#else
  u16x u = (u16x)select16(v == v, v, splat(NAN));
  return __builtin_convertvector((u + 0x7fff + ((u >> 16) & 1)) >> 16, w16x);
#endif
}

INLINE f16x load16_real(const real *p) {
#if defined(__AVX512F__)
  return (f16x)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
  return (f16x)(__builtin_convertvector(*(const w16x *)p, u16x) << 16);
#endif
}
INLINE void store16_real(real *p, f16x v) { *(w16x *)p = round16(v); }
/* 32 values to 32 bfloat16 in memory order. */
INLINE void store32_real(real *p, f16x low, f16x high) {
#if defined(__AVX512BF16__)
  _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
#else
  store16_real(p, low);
  store16_real(p + 16, high);
#endif
}

#endif

/* IEEE half precision, for the scales of quantised weights. */
INLINE float from_half(uint16_t h) {
  _Float16 x;
  memcpy(&x, &h, 2);
  return (float)x;
}

INLINE uint16_t to_half(float f) {
  _Float16 x = (_Float16)f;
  uint16_t h;
  memcpy(&h, &x, 2);
  return h;
}

INLINE f16x load16_half(const uint16_t *p) {
#if defined(__AVX512F__)
  return (f16x)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#else
  f16x v;
  for (int i = 0; i < 16; i++) v[i] = from_half(p[i]);
  return v;
#endif
}

/* 16 bytes to 16 integers. (GCC 12 takes the extension's conversion apart into single bytes.) */
INLINE i16x widen_signed(const int8_t *p) {
#if defined(__AVX512F__)
  return (i16x)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
#else
  return __builtin_convertvector(*(const b16x *)p, i16x);
#endif
}

INLINE void narrow16(int8_t *p, i16x v) {
#if defined(__AVX512F__)
  _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
#else
  *(b16x *)p = __builtin_convertvector(v, b16x);
#endif
}

/* Asks for memory that will be read a little later. The processor's own prefetcher stays too close behind the reader. */
#define AHEAD 2048
INLINE void expect(const void *p, long bytes) {
  for (long i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + AHEAD + i);
}

/* Asks for memory that lies elsewhere. */
INLINE void fetch(const void *p, long bytes) {
  for (long i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i);
}

INLINE long round_up(long n, long step) { return (n + step - 1) / step * step; }
INLINE long least(long a, long b) { return a < b ? a : b; }
