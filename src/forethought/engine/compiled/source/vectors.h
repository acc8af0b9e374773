/* The product on vector registers, for machines without tiles.
 *
 * A few rows at a time keep their sums in registers while a panel streams by. Packed panels are never written out: their
 * integers are multiplied as they are, and each group of 32 weights gets its scale and its minimum afterwards, in
 * float32. */
#pragma once
#include "panels.h"

/* 16 lanes of float32 in registers. (Where no register holds them all, GCC keeps a vector of that length in memory.) */
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && !defined(__AVX512F__)

#define ROWS_AT_ONCE 6 /* 12 of the 16 registers are sums */
#define PLAIN_TWICE 2  /* rows of which both tiles of a plain step are computed at once */
typedef struct {
  __m256 low, high;
} Lanes;

INLINE Lanes spread(float x) { return (Lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE Lanes add_product(Lanes sum, Lanes a, Lanes b) {
  return (Lanes){_mm256_fmadd_ps(a.low, b.low, sum.low), _mm256_fmadd_ps(a.high, b.high, sum.high)};
}
INLINE void store_lanes(float *p, Lanes v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
INLINE Lanes halves(const uint16_t *p) {
  return (Lanes){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
INLINE Lanes reals(const real *p) {
#ifdef FORETHOUGHT_FLOAT32
  return (Lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
#else
  const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
  const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 8)));
  return (Lanes){_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
#endif
}
INLINE Lanes signed_bytes(const int8_t *q) {
  const __m256i low = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q));
  const __m256i high = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(q + 8)));
  return (Lanes){_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)};
}
INLINE __m256 half_byte_of(const uint8_t *words, int shift) {
  const __m256i shifted = _mm256_srli_epi32(_mm256_loadu_si256((const __m256i *)words), shift);
  return _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(15)));
}
INLINE Lanes half_byte_lanes(const uint8_t *words, int shift) {
  return (Lanes){half_byte_of(words, shift), half_byte_of(words + 32, shift)};
}

#else

#if defined(__AVX512F__)
#define ROWS_AT_ONCE 12 /* 24 of the 32 registers are sums */
#else
#define ROWS_AT_ONCE 2
#endif
#define PLAIN_TWICE ROWS_AT_ONCE
typedef f16x Lanes;

INLINE Lanes spread(float x) { return splat(x); }
INLINE Lanes add_product(Lanes sum, Lanes a, Lanes b) { return sum + a * b; }
INLINE void store_lanes(float *p, Lanes v) { store16(p, v); }
INLINE Lanes halves(const uint16_t *p) { return load16_half(p); }
INLINE Lanes reals(const real *p) { return load16_real(p); }
INLINE Lanes signed_bytes(const int8_t *q) { return __builtin_convertvector(widen_signed(q), f16x); }
INLINE Lanes half_byte_lanes(const uint8_t *words, int shift) {
  return __builtin_convertvector((i16x)(*(const u16x *)words >> shift & 15), f16x);
}

#endif

static int tiles_request(void) { return 0; }
static void tiles_release(void) {}

/* What one multiplication takes: 16 columns, and in depth as much as an instruction adds up. */
#ifdef FORETHOUGHT_PAIRS

#define DEPTH 2
#define HALF_BYTE_ZERO 16 /* half_bytes() gives 16 + q, which is one instruction away from q */
typedef __m512bh Weights;
typedef real Input;

INLINE Weights load_weights(const real *p) { return (Weights)_mm512_loadu_si512(p); }
INLINE Weights everywhere(const Input *x) {
  int32_t pair;
  memcpy(&pair, x, 4);
  return (Weights)_mm512_set1_epi32(pair);
}
INLINE Lanes dot(Lanes sum, Weights x, Weights w) { return (Lanes)_mm512_dpbf16_ps((__m512)sum, x, w); }
/* Of 64 bytes that hold four rows of pairs, one. */
INLINE Weights half_bytes(const uint8_t *four, int row) {
  const __m512i words = _mm512_loadu_si512(four);
  const __m512i shifted = row == 0   ? _mm512_slli_epi16(words, 3)
                          : row == 1 ? _mm512_srli_epi16(words, 1)
                          : row == 2 ? _mm512_srli_epi16(words, 5)
                                     : _mm512_srli_epi16(words, 9);
  /* (shifted & 15 << 3) | 16.0 in bfloat16, whose mantissa counts eighths there */
  return (Weights)_mm512_ternarylogic_epi32(shifted, _mm512_set1_epi16(0x78), _mm512_set1_epi16(0x4180), 0xea);
}
INLINE Weights bytes(const int8_t *q) {
  return _mm512_cvtne2ps_pbh((__m512)signed_bytes(q + 16), (__m512)signed_bytes(q));
}

#else

#define DEPTH 1
#define HALF_BYTE_ZERO 0
typedef Lanes Weights;
typedef float Input;

INLINE Weights load_weights(const real *p) { return reals(p); }
INLINE Weights everywhere(const Input *x) { return spread(*x); }
INLINE Lanes dot(Lanes sum, Weights x, Weights w) { return add_product(sum, x, w); }
INLINE Weights half_bytes(const uint8_t *four, int row) { return half_byte_lanes(four, row / 2 * 4 + row % 2 * 16); }
INLINE Weights bytes(const int8_t *q) { return signed_bytes(q); }

#endif

#define ROWS_OF_STEP (PANEL / DEPTH)
#define ROWS_OF_FOUR (8 / DEPTH) /* rows that 64 bytes of half bytes hold */

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

typedef Lanes Sums[ROWS_AT_ONCE][2];

INLINE void clear(const int rows, const int tiles, Sums sums) {
  EACH_ROW for (int t = 0; t < tiles; t++) sums[r][t] = spread(0);
}

/* The inputs of some rows to one step, as they are multiplied. */
typedef struct {
  const Input *x;
  long ldx;
} Inputs;

typedef Input InputRoom[ROWS_AT_ONCE][PANEL];

INLINE Inputs inputs_of(const int rows, const real *a, long lda, InputRoom room) {
#if defined(FORETHOUGHT_PAIRS) || defined(FORETHOUGHT_FLOAT32)
  (void)rows, (void)room;
  return (Inputs){a, lda};
#else
  EACH_ROW for (int half = 0; half < PANEL; half += 16) store_lanes(room[r] + half, reals(a + r * lda + half));
  return (Inputs){room[0], PANEL};
#endif
}

/* sums[r] += a[r] times one row of weights, of one tile or two. */
INLINE void add_row(const int rows, const int tiles, Sums sums, Inputs in, int row, Weights first, Weights second) {
  EACH_ROW {
    const Weights x = everywhere(in.x + r * in.ldx + row * DEPTH);
    sums[r][0] = dot(sums[r][0], x, first);
    if (tiles == 2) sums[r][1] = dot(sums[r][1], x, second);
  }
}

INLINE void add_plain(const int rows, const int tiles, Sums sums, Inputs in, const real *first) {
  for (int row = 0; row < ROWS_OF_STEP; row++, first += 16 * DEPTH)
    add_row(rows, tiles, sums, in, row, load_weights(first), load_weights(first + (tiles - 1) * TILE));
}

/* Plain panels: step s lies at panel + offsets[s], or one after the other if there are no offsets. Both tiles of a step at
 * once while registers suffice. */
INLINE void rows_plain(const int rows, long steps, const real *a, long lda, const real *panel, const int64_t *offsets,
                       int fresh, float *c, long ldc) {
  const int tiles = rows > PLAIN_TWICE ? 1 : 2;
  for (int tile = 0; tile < 2; tile += tiles) {
    Sums sums;
    InputRoom room;
    clear(rows, tiles, sums);
    for (long s = 0; s < steps; s++) {
      const real *step = panel + (offsets ? offsets[s] : s * STEP);
      if (fresh && tile == 0) expect(step, STEP * (long)sizeof(real));
      add_plain(rows, tiles, sums, inputs_of(rows, a + s * PANEL, lda, room), step + tile * TILE);
    }
    EACH_ROW for (int t = 0; t < tiles; t++) store_lanes(c + r * ldc + (tile + t) * 16, sums[r][t]);
  }
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

INLINE void add_int4(const int rows, const int tiles, Sums sums, Inputs in, const uint8_t *first) {
  const uint8_t *second = first + (tiles - 1) * INT4_TILE;
  for (int four = 0; four < 4; four++) {
    const uint8_t *v = first + 64 + four * 64, *w = second + 64 + four * 64;
#pragma GCC unroll 8
    for (int row = 0; row < ROWS_OF_FOUR; row++)
      add_row(rows, tiles, sums, in, four * ROWS_OF_FOUR + row, half_bytes(v, row), half_bytes(w, row));
  }
}

INLINE void add_int8(const int rows, const int tiles, Sums sums, Inputs in, const uint8_t *first) {
  const int8_t *q = (const int8_t *)first + 32;
  for (int row = 0; row < ROWS_OF_STEP; row++, q += 16 * DEPTH)
    add_row(rows, tiles, sums, in, row, bytes(q), bytes(q + (tiles - 1) * INT8_TILE));
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
    InputRoom room;
    clear(rows, tiles, results);
    for (long s = 0; s < steps; s++, data += 2 * bytes) {
      if (fresh && tile == 0) expect(data, 2 * bytes);
      Sums sums;
      clear(rows, tiles, sums);
      const Inputs in = inputs_of(rows, a + s * PANEL, lda, room);
      if (format == INT4)
        add_int4(rows, tiles, sums, in, data);
      else
        add_int8(rows, tiles, sums, in, data);
      for (int t = 0; t < tiles; t++) {
        const Lanes scale = halves((const uint16_t *)(data + t * bytes));
        EACH_ROW results[r][t] = add_product(results[r][t], sums[r][t], scale);
        if (format == INT4) {
          const Lanes half = halves((const uint16_t *)(data + t * bytes + 32));
          const Lanes minimum = add_product(half, scale, spread(-HALF_BYTE_ZERO));
          EACH_ROW results[r][t] = add_product(results[r][t], minimum, spread(totals[r * steps + s]));
        }
      }
    }
    EACH_ROW for (int t = 0; t < tiles; t++) store_lanes(c + r * PANEL + (tile + t) * 16, results[r][t]);
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
  for (int r = 0; r < rows; r++)
    for (long s = 0; s < steps; s++, totals++) {
      const real *x = a + r * lda + s * PANEL;
#ifdef FORETHOUGHT_PAIRS
      const real ones[2] = {to_real(1), to_real(1)};
      *totals = sum16(dot(splat(0), load_weights(x), everywhere(ones)));
#else
      *totals = sum16(load16_real(x) + load16_real(x + 16));
#endif
    }
}
