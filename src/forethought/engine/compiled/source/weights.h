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

/* Column n (0 to 15), depth k (0 to 31) of a tile. */
INLINE int place(int n, int k) { return (k / 2) * 32 + n * 2 + k % 2; }

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
    f16x a = __builtin_convertvector(__builtin_convertvector(*(const b16x *)q, i16x), f16x) * low;
    f16x b = __builtin_convertvector(__builtin_convertvector(*(const b16x *)(q + 16), i16x), f16x) * high;
    store32_bf16(out + row * 32, a, b);
  }
}

/* d * q + m rounded once: d * q is exact in float32, so a fused and an unfused multiply-add agree. */
INLINE void unpack_int4(const uint8_t *tile, bf16 *out) {
  f16x d = load16_half((const uint16_t *)tile), m = load16_half((const uint16_t *)(tile + 32));
  f16x d_low = low_twice(d), d_high = high_twice(d), m_low = low_twice(m), m_high = high_twice(m);
  const uint8_t *q = tile + 64;
  for (int row = 0; row < 16; row += 2, q += 32) {
    i16x a = __builtin_convertvector(*(const ub16x *)q, i16x), b = __builtin_convertvector(*(const ub16x *)(q + 16), i16x);
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
  if (w->format == INT4)
    for (long t = 0; t < tiles; t++) unpack_int4(data + t * INT4_TILE, scratch + t * TILE);
  else
    for (long t = 0; t < tiles; t++) unpack_int8(data + t * INT8_TILE, scratch + t * TILE);
  return scratch;
}

/* ---- packing ---- */

/* 32 weights of one column into a tile; 0 if the format cannot hold them exactly. */
static int pack_int8(const float *w, int n, int rounded, uint8_t *tile) {
  float top = 0;
  for (int k = 0; k < 32; k++) top = fabsf(w[k]) > top ? fabsf(w[k]) : top;
  uint16_t half = to_half(top / 127);
  float d = from_half(half);
  ((uint16_t *)tile)[n] = half;
  for (int k = 0; k < 32; k++) {
    float q = d == 0 ? 0 : rintf(w[k] / d);
    q = q > 127 ? 127 : q < -127 ? -127 : q;
    if (!rounded && q * d != w[k]) return 0;
    ((int8_t *)tile)[32 + place(n, k)] = (int8_t)q;
  }
  return 1;
}

static int pack_int4(const float *w, int n, uint8_t *tile) {
  float least = w[0], most = w[0];
  for (int k = 1; k < 32; k++) {
    least = w[k] < least ? w[k] : least;
    most = w[k] > most ? w[k] : most;
  }
  uint16_t half_d = to_half((most - least) / 15), half_m = to_half(least);
  float d = from_half(half_d), m = from_half(half_m);
  ((uint16_t *)tile)[n] = half_d;
  ((uint16_t *)tile)[16 + n] = half_m;
  for (int k = 0; k < 32; k++) {
    float q = d == 0 ? 0 : rintf((w[k] - m) / d);
    if (q < 0 || q > 15 || q * d + m != w[k]) return 0;
    int at = place(n, k), row = at / 32;
    uint8_t *byte = tile + 64 + (row / 2) * 32 + at % 32;
    *byte = row % 2 ? (uint8_t)((*byte & 15) | (int)q << 4) : (uint8_t)((*byte & 0xf0) | (int)q);
  }
  return 1;
}

typedef struct {
  const Linear *w;
  const float *const *rows; /* [columns rounded up to 32]: each `depth` floats, or NULL for a column of zeros */
  uint8_t *out;
  atomic_int inexact;
} Packing;

static void pack_job(void *argument, Pool *pool, int thread) {
  (void)thread;
  Packing *p = argument;
  const Linear *w = p->w;
  const long panels = panels_of(w), steps = steps_of(w), bytes = tile_bytes(w->format == INT8_ROUNDED ? INT8 : w->format);
  for (long panel; (panel = take(pool)) < panels && !atomic_load(&p->inexact);)
    for (long step = 0; step < steps; step++)
      for (int n = 0; n < PANEL; n++) {
        uint8_t *tile = p->out + ((panel * steps + step) * 2 + n / 16) * bytes;
        const float *row = p->rows[panel * PANEL + n];
        float w32[32] = {0};
        if (row) memcpy(w32, row + step * PANEL, (size_t)least(PANEL, w->depth - step * PANEL) * 4);
        int fine = 1;
        if (w->format == BF16)
          for (int k = 0; k < 32; k++) ((bf16 *)tile)[place(n % 16, k)] = to_bf16(w32[k]);
        else if (w->format == INT4)
          fine = pack_int4(w32, n % 16, tile);
        else
          fine = pack_int8(w32, n % 16, w->format == INT8_ROUNDED, tile);
        if (!fine) {
          atomic_store(&p->inexact, 1);
          return;
        }
      }
}

/* Packs float32 rows into `out` (which has room for the format). 1 when done, 0 if the format would lose something. */
int forethought_pack(Pool *pool, const Linear *w, const float *const *rows, uint8_t *out) {
  Packing packing = {.w = w, .rows = rows, .out = out};
  run(pool, pack_job, &packing);
  return !atomic_load(&packing.inexact);
}
