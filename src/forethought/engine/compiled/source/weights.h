/* Linear weights as panels, in one of three formats.
 *
 *   BF16   values as they are                                             16 bits a weight
 *   INT8   per tile column a half scale d, then q: w = d * q              8.5 bits
 *   INT4   per tile column half d and half m, then q: w = d * q + m       5 bits
 *
 * INT8 and INT4 are GGUF's Q8_0 and Q4_1: 32 weights along K share a scale, and a tile is just 32 deep. Packing into
 * them succeeds only if every weight comes back bit for bit, so a checkpoint that was quantised once costs its own size
 * in memory traffic and loses nothing. (INT8 can also be forced, with rounding.) A panel is turned into bfloat16 just
 * before it is used, so all formats give the same bits as BF16 does. */
#pragma once
#include "pool.h"
#include "tiles.h"

enum { BF16 = 0, INT8 = 1, INT4 = 2, INT8_ROUNDED = 3 };
#define INT8_TILE (32 + TILE)      /* bytes: 16 scales, 512 values */
#define INT4_TILE (64 + TILE / 2)  /* bytes: 16 scales, 16 minima, 512 half bytes */

typedef struct {
  int32_t columns, depth; /* outputs and inputs, as the layer sees them */
  int32_t format;
  int32_t reserved;
  const uint8_t *data;
  const float *bias; /* [columns] or NULL */
} Linear;

INLINE long panels_of(const Linear *w) { return round_up(w->columns, PANEL) / PANEL; }
INLINE long steps_of(const Linear *w) { return round_up(w->depth, PANEL) / PANEL; }
INLINE long tile_bytes(int format) { return format == BF16 ? TILE * 2 : format == INT4 ? INT4_TILE : INT8_TILE; }
INLINE long panel_bytes(const Linear *w) { return steps_of(w) * 2 * tile_bytes(w->format); }

INLINE f16x low_twice(f16x d) {
  return __builtin_shufflevector(d, d, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
INLINE f16x high_twice(f16x d) {
  return __builtin_shufflevector(d, d, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
}

INLINE void unpack_int8(const uint8_t *tile, bf16 *out) {
  f16x d = load16_half((const uint16_t *)tile), low = low_twice(d), high = high_twice(d);
  const int8_t *q = (const int8_t *)(tile + 32);
  for (int row = 0; row < 16; row++, q += 32) {
    f16x a = __builtin_convertvector(widen_signed(q), f16x) * low;
    f16x b = __builtin_convertvector(widen_signed(q + 16), f16x) * high;
    store32_bf16(out + row * 32, a, b);
  }
}

/* d * q + m rounded once: d * q is exact in float32, so a fused and an unfused multiply-add agree. */
INLINE void unpack_int4(const uint8_t *tile, bf16 *out) {
  f16x d = load16_half((const uint16_t *)tile), m = load16_half((const uint16_t *)(tile + 32));
  f16x d_low = low_twice(d), d_high = high_twice(d), m_low = low_twice(m), m_high = high_twice(m);
  const uint8_t *q = tile + 64;
  for (int row = 0; row < 16; row += 2, q += 32) {
    i16x a = widen_bytes(q), b = widen_bytes(q + 16);
    store32_bf16(out + row * 32, __builtin_convertvector(a & 15, f16x) * d_low + m_low,
                 __builtin_convertvector(b & 15, f16x) * d_high + m_high);
    store32_bf16(out + row * 32 + 32, __builtin_convertvector(a >> 4, f16x) * d_low + m_low,
                 __builtin_convertvector(b >> 4, f16x) * d_high + m_high);
  }
}

/* Panel number `panel` in bfloat16: in place, or unpacked into `scratch`. */
INLINE const bf16 *fetch_panel(const Linear *w, long panel, bf16 *scratch) {
  const uint8_t *data = w->data + panel * panel_bytes(w);
  if (w->format == BF16) return (const bf16 *)data;
  long tiles = steps_of(w) * 2;
  const long bytes = tile_bytes(w->format);
  for (long t = 0; t < tiles; t++, data += bytes) {
    expect(data, bytes);
    w->format == INT4 ? unpack_int4(data, scratch + t * TILE) : unpack_int8(data, scratch + t * TILE);
  }
  return scratch;
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
  if (rounded) return 1;
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

/* 16 columns into a tile: pairs of values along K lie side by side, for one column after the other. */
static int pack_tile(int format, const Column w[16], uint8_t *tile) {
  uint16_t *scales = (uint16_t *)tile;
  int8_t q[16][32];
  int exact = 1;
  if (format == BF16) {
    _Alignas(64) bf16 values[32];
    for (int n = 0; n < 16; n++) {
      store32_bf16(values, w[n].low, w[n].high);
      for (int pair = 0; pair < 16; pair++) memcpy(tile + pair * 64 + n * 4, values + pair * 2, 4);
    }
    return 1;
  }
  for (int n = 0; n < 16 && exact; n++)
    exact = format == INT4 ? to_int4(w[n], scales + n, scales + 16 + n, q[n])
                           : to_int8(w[n], format == INT8_ROUNDED, scales + n, q[n]);
  if (!exact) return 0;
  for (int n = 0; n < 16; n++)
    for (int pair = 0; pair < 16; pair++) {
      uint16_t both, next;
      memcpy(&both, q[n] + pair * 2, 2);
      if (format != INT4) {
        memcpy(tile + 32 + pair * 32 + n * 2, &both, 2);
      } else if (pair % 2 == 0) { /* two rows share a byte */
        memcpy(&next, q[n] + pair * 2 + 2, 2);
        both |= (uint16_t)(next << 4);
        memcpy(tile + 64 + pair * 16 + n * 2, &both, 2);
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
