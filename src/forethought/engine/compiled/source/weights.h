/* Linear weights as panels, in one of three formats.
 *
 *   PLAIN  values as they are: bfloat16, or float32 in the build for it     16 or 32 bits a weight
 *   INT8   per tile column a half scale d, then q: w = d * q              8.5 bits
 *   INT4   per tile column half d and half m, then q: w = d * q + m       5 bits
 *
 * INT8 and INT4 are GGUF's Q8_0 and Q4_1: 32 weights along K share a scale, and a tile is just 32 deep. Packing into
 * them succeeds only if every weight comes back bit for bit, so a checkpoint that was quantised once costs its own size
 * in memory traffic and loses nothing. (INT8 can also be forced, with rounding.) A panel is turned into bfloat16 just
 * before it is used, so all formats give the same bits as PLAIN does. */
#pragma once
#include "pool.h"
#include "tiles.h"

enum { PLAIN = 0, INT8 = 1, INT4 = 2, INT8_ROUNDED = 3 };
#define INT8_TILE (32 + TILE)      /* bytes: 16 scales, 512 values */
#define INT4_TILE (64 + TILE / 2)  /* bytes: 16 scales, 16 minima, 512 half bytes */

typedef struct {
  int32_t columns, depth; /* outputs and inputs, as the layer sees them */
  int32_t format;
  const uint8_t *data;
  const float *bias; /* [columns] or NULL */
} Linear;

INLINE long panels_of(const Linear *w) { return round_up(w->columns, PANEL) / PANEL; }
INLINE long steps_of(const Linear *w) { return round_up(w->depth, PANEL) / PANEL; }
INLINE long tile_bytes(int format) { return format == PLAIN ? TILE * (long)sizeof(real) : format == INT4 ? INT4_TILE : INT8_TILE; }
INLINE long panel_bytes(const Linear *w) { return steps_of(w) * 2 * tile_bytes(w->format); }

INLINE f16x low_twice(f16x d) {
  return __builtin_shufflevector(d, d, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
INLINE f16x high_twice(f16x d) {
  return __builtin_shufflevector(d, d, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
}

/* The lowest half byte of each lane as a number. */
INLINE f16x half_byte(u16x v) {
#if defined(__AVX512F__)
  const __m512 numbers = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return (f16x)_mm512_permutexvar_ps((__m512i)v, numbers);
#else
  return __builtin_convertvector((i16x)(v & 15), f16x);
#endif
}

INLINE void unpack_int8(const uint8_t *tile, real *out) {
  f16x d = load16_half((const uint16_t *)tile), low = low_twice(d), high = high_twice(d);
  const int8_t *q = (const int8_t *)(tile + 32);
  for (int row = 0; row < 16; row++, q += 32) {
    if (row % 2 == 0) __builtin_prefetch(tile + AHEAD + row * 34);
    f16x a = __builtin_convertvector(widen_signed(q), f16x) * low;
    f16x b = __builtin_convertvector(widen_signed(q + 16), f16x) * high;
    store32_real(out + row * 32, a, b);
  }
}

/* d * q + m rounded once: d * q is exact in float32, so a fused and an unfused multiply-add agree.
 *
 * Eight rows lie in the half bytes of one integer per lane, so that a shift finds the next one. */
INLINE void unpack_int4(const uint8_t *tile, real *out) {
  f16x d = load16_half((const uint16_t *)tile), m = load16_half((const uint16_t *)(tile + 32));
  f16x d_low = low_twice(d), d_high = high_twice(d), m_low = low_twice(m), m_high = high_twice(m);
  for (int half = 0; half < 2; half++) {
    u16x low = *(const u16x *)(tile + 64 + half * 128), high = *(const u16x *)(tile + 128 + half * 128);
    for (int row = 0; row < 8; row++, low >>= 4, high >>= 4) {
      if (row % 3 == 0) __builtin_prefetch(tile + AHEAD + half * 192 + row / 3 * 64); /* a tile's five lines, one by one */
      store32_real(out + (half * 8 + row) * 32, half_byte(low) * d_low + m_low, half_byte(high) * d_high + m_high);
    }
  }
}

/* One step of a packed panel, in bfloat16. */
INLINE void unpack_step(const Linear *w, const uint8_t *data, real *out) {
  const long bytes = tile_bytes(w->format);
  for (int t = 0; t < 2; t++)
    w->format == INT4 ? unpack_int4(data + t * bytes, out + t * TILE) : unpack_int8(data + t * bytes, out + t * TILE);
}

/* A packed panel, unpacked while it is multiplied: two steps ahead of their use, so that neither waits for the other. */
typedef struct {
  const Linear *w;
  const uint8_t *data;
  long steps, bytes;
  real *out;
  long kept; /* steps that `out` has room for, a power of two; the panel lies there afterwards if it is that small */
} Stream;

INLINE const real *next_step(const Stream *stream, long s) {
  const long later = s + 2;
  if (later < stream->steps)
    unpack_step(stream->w, stream->data + later * stream->bytes, stream->out + (later & (stream->kept - 1)) * STEP);
  stored();
  return stream->out + (s & (stream->kept - 1)) * STEP;
}

/* c[rows][32] = a[rows][depth] times panel number `panel`, for at most ONE_PASS rows. */
INLINE void multiply_packed(int rows, const Linear *w, long panel, const real *a, long lda, real *out, long kept, float *c) {
  const long steps = steps_of(w), ldc = PANEL, bytes = 2 * tile_bytes(w->format);
  const Stream stream = {w, w->data + panel * panel_bytes(w), steps, bytes, out, kept};
  for (long s = 0; s < least(2, steps); s++) unpack_step(w, stream.data + s * bytes, out + s * STEP);
  tiles_expect(rows);
  MULTIPLY(next_step(&stream, s))
}

/* ---- packing ---- */

typedef struct {
  f16x low, high; /* 32 weights of one column */
} Column;

INLINE i16x nearest(f16x x) {
  const f16x magic = splat(12582912.0f);
  return __builtin_convertvector((x + magic) - magic, i16x);
}

INLINE int same(f16x a, f16x b) { return max16(select16(a == b, splat(0), splat(1))) == 0; }

/* q of 32 weights and their scale; 0 if not exact and `rounded` is not allowed. */
static int to_int8(Column w, int rounded, uint16_t *scale, int8_t q[32]) {
  const float top = max16(vmax(vmax(w.low, -w.low), vmax(w.high, -w.high)));
  *scale = to_half(top / 127);
  const float d = from_half(*scale), inverse = d == 0 ? 0 : 1 / d;
  i16x low = nearest(clamp16(w.low * inverse, 127)), high = nearest(clamp16(w.high * inverse, 127));
  narrow16(q, low);
  narrow16(q + 16, high);
  if (rounded) return same(w.low - w.low, splat(0)) && same(w.high - w.high, splat(0)); /* finite */
  return same(__builtin_convertvector(low, f16x) * d, w.low) && same(__builtin_convertvector(high, f16x) * d, w.high);
}

static int to_int4(Column w, uint16_t *scale, uint16_t *minimum, int8_t q[32]) {
  const float least = -max16(vmax(-w.low, -w.high)), most = max16(vmax(w.low, w.high));
  *scale = to_half((most - least) / 15);
  *minimum = to_half(least);
  const float d = from_half(*scale), m = from_half(*minimum), inverse = d == 0 ? 0 : 1 / d;
  i16x low = nearest((w.low - m) * inverse) & 15, high = nearest((w.high - m) * inverse) & 15;
  narrow16(q, low);
  narrow16(q + 16, high);
  return same(__builtin_convertvector(low, f16x) * d + m, w.low) && same(__builtin_convertvector(high, f16x) * d + m, w.high);
}

INLINE void put_half_byte(uint8_t *lane, int row, int8_t q) {
  uint32_t all;
  memcpy(&all, lane, 4);
  all = (all & ~(15u << row * 4)) | (uint32_t)q << row * 4;
  memcpy(lane, &all, 4);
}

/* 16 columns into a tile: pairs of values along K lie side by side, for one column after the other. */
static int pack_tile(int format, const Column w[16], uint8_t *tile) {
  uint16_t *scales = (uint16_t *)tile;
  int8_t q[16][32];
  int exact = 1;
  if (format == PLAIN) {
    _Alignas(64) real values[32];
    for (int n = 0; n < 16; n++) {
      store32_real(values, w[n].low, w[n].high);
      for (int pair = 0; pair < 16; pair++) memcpy((real *)tile + pair * 32 + n * 2, values + pair * 2, 2 * sizeof(real));
    }
    return 1;
  }
  for (int n = 0; n < 16 && exact; n++)
    exact = format == INT4 ? to_int4(w[n], scales + n, scales + 16 + n, q[n])
                           : to_int8(w[n], format == INT8_ROUNDED, scales + n, q[n]);
  if (!exact) return 0;
  for (int n = 0; n < 16; n++)
    for (int pair = 0; pair < 16; pair++) {
      if (format != INT4) {
        memcpy(tile + 32 + pair * 32 + n * 2, q[n] + pair * 2, 2);
      } else { /* the lane of column n, k is (n % 8) * 2 + k % 2; its row is a half byte of it */
        uint8_t *lane = tile + 64 + pair / 8 * 128 + n / 8 * 64 + n % 8 * 8;
        put_half_byte(lane, pair % 8, q[n][pair * 2]);
        put_half_byte(lane + 4, pair % 8, q[n][pair * 2 + 1]);
      }
    }
  return 1;
}

typedef struct {
  const Linear *w;
  const float *const *rows; /* [columns rounded up to 32]: each `depth` floats, or NULL for a column of zeros */
  uint8_t *out;
  atomic_int inexact;
} Packing;

static Column column_of(const Packing *p, long column, long step) {
  const float *row = p->rows[column];
  if (row && (step + 1) * PANEL <= p->w->depth) return (Column){load16(row + step * PANEL), load16(row + step * PANEL + 16)};
  float some[32] = {0};
  if (row) memcpy(some, row + step * PANEL, (size_t)(p->w->depth - step * PANEL) * 4);
  return (Column){load16(some), load16(some + 16)};
}

static void pack_panels(void *argument, int thread, long from, long to) {
  (void)thread;
  Packing *p = argument;
  const long steps = steps_of(p->w), bytes = tile_bytes(p->w->format);
  for (long tile = from * steps * 2; tile < to * steps * 2 && !atomic_load(&p->inexact); tile++) {
    const long panel = tile / (steps * 2), step = tile % (steps * 2) / 2;
    Column columns[16];
    for (int n = 0; n < 16; n++) columns[n] = column_of(p, panel * PANEL + tile % 2 * 16 + n, step);
    if (!pack_tile(p->w->format, columns, p->out + tile * bytes)) atomic_store(&p->inexact, 1);
  }
}

static void pack_job(void *argument, Member *me) {
  Packing *p = argument;
  phase(me, panels_of(p->w), even(me), pack_panels, p);
}

/* Packs float32 rows into `out` (which has room for the format). 1 when done, 0 if the format would lose something. */
int forethought_pack(Pool *pool, const Linear *w, const float *const *rows, uint8_t *out) {
  Packing packing = {.w = w, .rows = rows, .out = out};
  run(pool, pack_job, &packing);
  return !atomic_load(&packing.inexact);
}
