/* The product on AMX tiles.
 *
 * A packed panel is turned into bfloat16 just before it is used, so all formats give the same bits as PLAIN does. */
#pragma once
#include "panels.h"
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local int tile_rows; /* the row count the tile registers are set up for; 0: not at all */

/* Linux lends the tile registers on request. 0 when granted. */
static int tiles_request(void) { return (int)syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18); }

static void tiles_configure(int rows) {
  struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  int first = rows < 16 ? rows : 16, second = rows > 16 ? rows - 16 : 1;
  /* 0-3: sums (0, 1 upper rows; 2, 3 lower rows or a second panel), 4, 5: inputs, 6, 7: panel */
  const int tall[8] = {first, first, rows > 16 ? second : first, rows > 16 ? second : first, first, second, 16, 16};
  for (int t = 0; t < 8; t++) {
    config.rows[t] = (uint8_t)tall[t];
    config.bytes[t] = 64;
  }
  __asm__ volatile("" : : "r"(&config) : "memory"); /* GCC 12's intrinsic says that it reads 8 bytes only */
  _tile_loadconfig(&config);
  tile_rows = rows;
}

INLINE void tiles_expect(int rows) {
  if (tile_rows != rows) tiles_configure(rows);
}

/* GCC 12 does not know that a tile load reads memory: what was stored before must lie there before. */
INLINE void stored(void) { __asm__ volatile("" : : : "memory"); }

static void tiles_release(void) {
  _tile_release();
  tile_rows = 0;
}

#define MULTIPLY(load_b)                                              \
  stored();                                                           \
  _tile_zero(0);                                                      \
  _tile_zero(1);                                                      \
  if (rows <= 16) {                                                   \
    for (long s = 0; s < steps; s++) {                                \
      const real *step = load_b;                                      \
      _tile_loadd(4, a + s * PANEL, lda * 2);                         \
      _tile_loadd(6, step, 64);                                       \
      _tile_dpbf16ps(0, 4, 6);                                        \
      _tile_loadd(7, step + TILE, 64);                                \
      _tile_dpbf16ps(1, 4, 7);                                        \
    }                                                                 \
  } else {                                                            \
    _tile_zero(2);                                                    \
    _tile_zero(3);                                                    \
    for (long s = 0; s < steps; s++) {                                \
      const real *step = load_b;                                      \
      _tile_loadd(4, a + s * PANEL, lda * 2);                         \
      _tile_loadd(6, step, 64);                                       \
      _tile_loadd(7, step + TILE, 64);                                \
      _tile_loadd(5, a + 16 * lda + s * PANEL, lda * 2);              \
      _tile_dpbf16ps(0, 4, 6);                                        \
      _tile_dpbf16ps(1, 4, 7);                                        \
      _tile_dpbf16ps(2, 5, 6);                                        \
      _tile_dpbf16ps(3, 5, 7);                                        \
    }                                                                 \
    _tile_stored(2, c + 16 * ldc, ldc * 4);                           \
    _tile_stored(3, c + 16 * ldc + 16, ldc * 4);                      \
  }                                                                   \
  _tile_stored(0, c, ldc * 4);                                        \
  _tile_stored(1, c + 16, ldc * 4);

INLINE const real *ahead(const real *step) {
  expect(step, STEP * (long)sizeof(real));
  return step;
}

/* c[rows][32] (stride ldc) = a[rows][32 * steps] (stride lda) times a panel that lies in one piece. */
INLINE void multiply(int rows, long steps, const real *a, long lda, const real *panel, float *c, long ldc) {
  tiles_expect(rows);
  MULTIPLY(ahead(panel + s * STEP))
}

/* The same for a panel whose steps lie at base + offsets[s]. */
INLINE void multiply_scattered(int rows, long steps, const real *a, long lda, const real *base, const int64_t *offsets,
                               float *c, long ldc) {
  tiles_expect(rows);
  MULTIPLY(ahead(base + offsets[s]))
}

/* ---- packed panels ---- */

INLINE f16x low_twice(f16x d) {
  return __builtin_shufflevector(d, d, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
INLINE f16x high_twice(f16x d) {
  return __builtin_shufflevector(d, d, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
}

/* The lowest half byte of each lane as a number. */
INLINE f16x half_byte(u16x v) {
  const __m512 numbers = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return (f16x)_mm512_permutexvar_ps((__m512i)v, numbers);
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

/* c[rows][32] = a[rows][depth] times panel number `panel`, for at most MAX_ROWS rows. */
INLINE void multiply_packed(int rows, const Linear *w, long panel, const real *a, long lda, real *out, long kept, float *c) {
  const long steps = steps_of(w), ldc = PANEL, bytes = 2 * tile_bytes(w->format);
  const Stream stream = {w, w->data + panel * panel_bytes(w), steps, bytes, out, kept};
  for (long s = 0; s < least(2, steps); s++) unpack_step(w, stream.data + s * bytes, out + s * STEP);
  tiles_expect(rows);
  MULTIPLY(next_step(&stream, s))
}
