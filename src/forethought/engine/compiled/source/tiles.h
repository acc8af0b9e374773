/* The one inner product of the engine: rows (at most 32) times a panel of 32 columns, in float32.
 *
 * A panel holds 32 columns of a matrix, K deep, as K/32 steps of two tiles; a tile holds 32 (K) x 16 (columns) values
 * as 16 rows of 16 column pairs (k, k + 1): the layout that AMX's TDPBF16PS reads. Weights, keys and values are all
 * stored as panels. What is added up for a row, and in which order, does not depend on the other rows: a request gives
 * the same bits alone and in a batch. */
#pragma once
#include "numbers.h"

#define PANEL 32                  /* columns of a panel, and K of one step */
#define TILE 512                  /* values of a tile */
#define STEP (2 * TILE)           /* values of a step */
#define MAX_ROWS 32               /* rows of one call */

#if defined(__AMX_BF16__) && defined(__linux__) && !defined(FORETHOUGHT_NO_AMX) && !defined(FORETHOUGHT_FLOAT32)
#define FORETHOUGHT_AMX 1
#define ONE_PASS 32 /* rows for which MULTIPLY reads a panel once */
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

#else /* any other machine: the same product on vectors */

#define ONE_PASS 4
static int tiles_request(void) { return 0; }
static void tiles_release(void) {}
INLINE void tiles_expect(int rows) { (void)rows; }
INLINE void stored(void) {}

#ifdef FORETHOUGHT_FLOAT32

/* Sixteen neighbours of a panel's row: eight columns, each at an even and an odd depth. The two sums of a column meet at
 * the end. */
INLINE f16x even_and_odd(f16x low, f16x high) {
  return __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

typedef float f2x __attribute__((vector_size(8), aligned(4)));
INLINE f16x eight_times(const float *pair) {
  const f2x two = *(const f2x *)pair;
  return __builtin_shufflevector(two, two, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1);
}

#define MULTIPLY(load_b)                                                                            \
  for (int r = 0; r < rows; r += 4) {                                                               \
    const int many = rows - r < 4 ? rows - r : 4;                                                   \
    f16x sums[4][4] = {};                                                                           \
    for (long s = 0; s < steps; s++) {                                                              \
      const real *step = load_b;                                                                    \
      for (int pair = 0; pair < 16; pair++, step += PANEL)                                          \
        for (int i = 0; i < many; i++) {                                                            \
          const f16x x = eight_times(a + (r + i) * lda + s * PANEL + pair * 2);                     \
          for (int q = 0; q < 4; q++) sums[i][q] += load16(step + q / 2 * TILE + q % 2 * 16) * x;   \
        }                                                                                           \
    }                                                                                               \
    for (int i = 0; i < many; i++)                                                                  \
      for (int t = 0; t < 2; t++)                                                                   \
        store16(c + (r + i) * ldc + t * 16, even_and_odd(sums[i][2 * t], sums[i][2 * t + 1]));      \
  }

#else

/* Four rows at a time keep their sums in registers while a panel streams by. */
#define MULTIPLY(load_b)                                                              \
  for (int r = 0; r < rows; r += 4) {                                                 \
    const int many = rows - r < 4 ? rows - r : 4;                                     \
    f16x sums[4][2] = {};                                                             \
    for (long s = 0; s < steps; s++) {                                                \
      const real *step = load_b;                                                      \
      for (int pair = 0; pair < 16; pair++)                                           \
        for (int t = 0; t < 2; t++) {                                                 \
          u16x both = *(const u16x *)(step + t * TILE + pair * 32);                   \
          f16x even = (f16x)(both << 16), odd = (f16x)(both & 0xffff0000u);           \
          for (int i = 0; i < many; i++) {                                            \
            const real *row = a + (r + i) * lda + s * PANEL + pair * 2;               \
            sums[i][t] += even * from_real(row[0]);                                   \
            sums[i][t] += odd * from_real(row[1]);                                    \
          }                                                                           \
        }                                                                             \
    }                                                                                 \
    for (int i = 0; i < many; i++)                                                    \
      for (int t = 0; t < 2; t++) store16(c + (r + i) * ldc + t * 16, sums[i][t]);  \
  }

#endif
#endif

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
