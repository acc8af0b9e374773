/* The product on vector registers, for machines without tiles.
 *
 * A few rows at a time keep their sums in registers while a panel streams by. Packed panels are never written out: their
 * integers are multiplied as they are, and each group of 32 weights gets its scale and its minimum afterwards, in
 * float32. */
#pragma once
#include "panels.h"

#if defined(__AVX512F__)
#define ROWS_AT_ONCE 12 /* 24 of the 32 registers are sums */
#else
#define ROWS_AT_ONCE 2
#endif

static int tiles_request(void) { return 0; }
static void tiles_release(void) {}

/* Two neighbours in depth, of 16 columns. */
#ifdef FORETHOUGHT_PAIRS

typedef __m512bh Pairs;
#define HALF_BYTE_ZERO 16 /* half_bytes() gives 16 + q, which is one instruction away from q */

INLINE Pairs load_pairs(const real *p) { return (Pairs)_mm512_loadu_si512(p); }
INLINE Pairs both(const real *x) {
  int32_t pair;
  memcpy(&pair, x, 4);
  return (Pairs)_mm512_set1_epi32(pair);
}
INLINE f16x dot(f16x sum, Pairs x, Pairs w) { return (f16x)_mm512_dpbf16_ps((__m512)sum, x, w); }
INLINE Pairs half_bytes(u16x v, int row) {
  const __m512i words = (__m512i)v;
  const __m512i shifted = row == 0   ? _mm512_slli_epi16(words, 3)
                          : row == 1 ? _mm512_srli_epi16(words, 1)
                          : row == 2 ? _mm512_srli_epi16(words, 5)
                                     : _mm512_srli_epi16(words, 9);
  /* (shifted & 15 << 3) | 16.0 in bfloat16, whose mantissa counts eighths there */
  return (Pairs)_mm512_ternarylogic_epi32(shifted, _mm512_set1_epi16(0x78), _mm512_set1_epi16(0x4180), 0xea);
}
INLINE Pairs bytes(const int8_t *q) {
  const f16x low = __builtin_convertvector(widen_signed(q), f16x);
  const f16x high = __builtin_convertvector(widen_signed(q + 16), f16x);
  return _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

#else

typedef struct {
  f16x even, odd;
} Pairs;
#define HALF_BYTE_ZERO 0

INLINE Pairs load_pairs(const real *p) { return (Pairs){load16_real(p), load16_real(p + 16)}; }
INLINE Pairs both(const real *x) { return (Pairs){splat(from_real(x[0])), splat(from_real(x[1]))}; }
INLINE f16x dot(f16x sum, Pairs x, Pairs w) {
  sum += x.even * w.even;
  sum += x.odd * w.odd;
  return sum;
}
INLINE Pairs half_bytes(u16x v, int row) {
  return (Pairs){__builtin_convertvector((i16x)(v >> row * 4 & 15), f16x),
                 __builtin_convertvector((i16x)(v >> (16 + row * 4) & 15), f16x)};
}
INLINE Pairs bytes(const int8_t *q) {
  return (Pairs){__builtin_convertvector(widen_signed(q), f16x), __builtin_convertvector(widen_signed(q + 16), f16x)};
}

#endif

/* f(rows, ...) with a row count that the compiler knows. */
#define CASE(n, f, ...) \
  case n:               \
    if (n <= ROWS_AT_ONCE) f(n, __VA_ARGS__); \
    break;
#define KNOWN_ROWS(rows, f, ...) \
  switch (rows) {                \
    CASE(1, f, __VA_ARGS__)      \
    CASE(2, f, __VA_ARGS__)      \
    CASE(3, f, __VA_ARGS__)      \
    CASE(4, f, __VA_ARGS__)      \
    CASE(5, f, __VA_ARGS__)      \
    CASE(6, f, __VA_ARGS__)      \
    CASE(7, f, __VA_ARGS__)      \
    CASE(8, f, __VA_ARGS__)      \
    CASE(9, f, __VA_ARGS__)      \
    CASE(10, f, __VA_ARGS__)     \
    CASE(11, f, __VA_ARGS__)     \
    CASE(12, f, __VA_ARGS__)     \
  }
#define EACH_ROW _Pragma("GCC unroll 12") for (int r = 0; r < rows; r++)

/* Of the rows that are left, as many as are computed at once: 32 are 11, 11 and 10. */
INLINE int next_rows(int left) {
  const int calls = (left + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  return (left + calls - 1) / calls;
}

typedef f16x Sums[ROWS_AT_ONCE][2];

INLINE void clear(const int rows, const int tiles, Sums sums) {
  EACH_ROW for (int t = 0; t < tiles; t++) sums[r][t] = splat(0);
}

/* sums[r] += a[r] times one row of pairs, of one tile or two. */
INLINE void add_pairs(const int rows, const int tiles, Sums sums, const real *a, long lda, Pairs first, Pairs second) {
  EACH_ROW {
    const Pairs x = both(a + r * lda);
    sums[r][0] = dot(sums[r][0], x, first);
    if (tiles == 2) sums[r][1] = dot(sums[r][1], x, second);
  }
}

INLINE void add_plain(const int rows, const int tiles, Sums sums, const real *a, long lda, const real *first) {
  for (int row = 0; row < 16; row++, first += 32)
    add_pairs(rows, tiles, sums, a + row * 2, lda, load_pairs(first), load_pairs(first + (tiles - 1) * TILE));
}

/* Plain panels: step s lies at panel + offsets[s], or one after the other if there are no offsets. */
INLINE void rows_plain(const int rows, long steps, const real *a, long lda, const real *panel, const int64_t *offsets,
                       int fresh, float *c, long ldc) {
  Sums sums;
  clear(rows, 2, sums);
  for (long s = 0; s < steps; s++) {
    const real *step = panel + (offsets ? offsets[s] : s * STEP);
    if (fresh) expect(step, STEP * (long)sizeof(real));
    add_plain(rows, 2, sums, a + s * PANEL, lda, step);
  }
  EACH_ROW for (int t = 0; t < 2; t++) store16(c + r * ldc + t * 16, sums[r][t]);
}

INLINE void multiply_scattered(int rows, long steps, const real *a, long lda, const real *panel, const int64_t *offsets,
                               float *c, long ldc) {
  for (int row = 0, n; row < rows; row += n) {
    n = next_rows(rows - row);
    KNOWN_ROWS(n, rows_plain, steps, a + row * lda, lda, panel, offsets, row == 0, c + row * ldc, ldc)
  }
}

INLINE void multiply(int rows, long steps, const real *a, long lda, const real *panel, float *c, long ldc) {
  multiply_scattered(rows, steps, a, lda, panel, NULL, c, ldc);
}

/* ---- packed panels ---- */

INLINE void add_int4(const int rows, const int tiles, Sums sums, const real *a, long lda, const uint8_t *first) {
  const uint8_t *second = first + (tiles - 1) * INT4_TILE;
  for (int four = 0; four < 4; four++) {
    const u16x v = *(const u16x *)(first + 64 + four * 64), w = *(const u16x *)(second + 64 + four * 64);
#pragma GCC unroll 4
    for (int row = 0; row < 4; row++)
      add_pairs(rows, tiles, sums, a + four * 8 + row * 2, lda, half_bytes(v, row), half_bytes(w, row));
  }
}

INLINE void add_int8(const int rows, const int tiles, Sums sums, const real *a, long lda, const uint8_t *first) {
  const int8_t *q = (const int8_t *)first + 32;
  for (int row = 0; row < 16; row++, q += 32)
    add_pairs(rows, tiles, sums, a + row * 2, lda, bytes(q), bytes(q + (tiles - 1) * INT8_TILE));
}

/* c[rows][32] = a[rows][32 * steps] times a packed panel: both tiles of a step at once while registers suffice.
 * totals[r][s] is the sum of a[r]'s inputs to step s, which minima are multiplied by. */
INLINE void rows_packed(const int rows, const int format, long steps, const real *a, long lda, const uint8_t *panel,
                        const float *totals, int fresh, float *c) {
  const int tiles = rows > ROWS_AT_ONCE / 2 ? 1 : 2;
  const long bytes = tile_bytes(format);
  for (int tile = 0; tile < 2; tile += tiles) {
    const uint8_t *data = panel + tile * bytes;
    Sums results;
    clear(rows, tiles, results);
    for (long s = 0; s < steps; s++, data += 2 * bytes) {
      if (fresh && tile == 0) expect(data, 2 * bytes);
      Sums sums;
      clear(rows, tiles, sums);
      if (format == INT4)
        add_int4(rows, tiles, sums, a + s * PANEL, lda, data);
      else
        add_int8(rows, tiles, sums, a + s * PANEL, lda, data);
      for (int t = 0; t < tiles; t++) {
        const f16x scale = load16_half((const uint16_t *)(data + t * bytes));
        EACH_ROW results[r][t] += sums[r][t] * scale;
        if (format == INT4) {
          const f16x minimum = load16_half((const uint16_t *)(data + t * bytes + 32)) - scale * HALF_BYTE_ZERO;
          EACH_ROW results[r][t] += minimum * totals[r * steps + s];
        }
      }
    }
    EACH_ROW for (int t = 0; t < tiles; t++) store16(c + r * PANEL + (tile + t) * 16, results[r][t]);
  }
}

/* The same product for any number of rows. */
static void multiply_packed(int rows, int format, long steps, const real *a, long lda, const uint8_t *panel,
                            const float *totals, float *c) {
  for (int row = 0, n; row < rows; row += n) {
    n = next_rows(rows - row);
    const real *x = a + row * lda;
    const float *t = totals + row * steps;
    if (format == INT4) {
      KNOWN_ROWS(n, rows_packed, INT4, steps, x, lda, panel, t, row == 0, c + row * PANEL)
    } else {
      KNOWN_ROWS(n, rows_packed, INT8, steps, x, lda, panel, t, row == 0, c + row * PANEL)
    }
  }
}

static void total_steps(int rows, long steps, const real *a, long lda, float *totals) {
  const real one = to_real(1), ones[2] = {one, one};
  for (int r = 0; r < rows; r++)
    for (long s = 0; s < steps; s++)
      totals[r * steps + s] = sum16(dot(splat(0), load_pairs(a + r * lda + s * PANEL), both(ones)));
}
