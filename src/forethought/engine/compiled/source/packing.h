/* Weights into panels.
 *
 * Packing into INT8 and INT4 succeeds only if every weight comes back bit for bit, so a checkpoint that was quantised
 * once costs its own size in memory traffic and loses nothing. (INT8 can also be forced, with rounding.) */
#pragma once
#include "panels.h"
#include "pool.h"

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

INLINE void put_half_byte(uint8_t *bytes, int slot, int8_t q) {
  const int shift = slot % 2 * 4;
  bytes[slot / 2] = (uint8_t)((bytes[slot / 2] & ~(15 << shift)) | q << shift);
}

static int pack_tile(int format, const Column w[16], uint8_t *tile) {
  uint16_t *scales = (uint16_t *)tile;
  int8_t q[16][32];
  if (format == PLAIN) {
    real values[32];
    for (int n = 0; n < 16; n++) {
      store32_real(values, w[n].low, w[n].high);
      for (int k = 0; k < PANEL; k++) memcpy(tile + slot(k, n) * (int)sizeof(real), values + k, sizeof(real));
    }
    return 1;
  }
  for (int n = 0; n < 16; n++)
    if (!(format == INT4 ? to_int4(w[n], scales + n, scales + 16 + n, q[n])
                         : to_int8(w[n], format == INT8_ROUNDED, scales + n, q[n])))
      return 0;
  for (int n = 0; n < 16; n++)
    for (int k = 0; k < PANEL; k++)
      if (format == INT4)
        put_half_byte(tile + 64, half_byte_slot(k, n), q[n][k]);
      else
        tile[32 + slot(k, n)] = (uint8_t)q[n][k];
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
