/* Panels: how weights, keys and values lie in memory.
 *
 * A panel holds 32 columns of a matrix, K deep, as K/32 steps of two tiles; a tile holds 32 (K) x 16 (columns) values.
 * Linear weights have one of three formats:
 *
 *   PLAIN  values as they are: bfloat16, or float32 in the build for it     16 or 32 bits a weight
 *   INT8   per tile column a half scale d, then q: w = d * q              8.5 bits
 *   INT4   per tile column half d and half m, then q: w = d * q + m       5 bits
 *
 * INT8 and INT4 are GGUF's Q8_0 and Q4_1: 32 weights along K share a scale, and a tile is just 32 deep. */
#pragma once
#include "numbers.h"

#define PANEL 32        /* columns of a panel, and K of one step */
#define TILE 512        /* values of a tile */
#define STEP (2 * TILE) /* values of a step */

enum { PLAIN = 0, INT8 = 1, INT4 = 2, INT8_ROUNDED = 3 };
#define INT8_TILE (32 + TILE)     /* bytes: 16 scales, 512 values */
#define INT4_TILE (64 + TILE / 2) /* bytes: 16 scales, 16 minima, 512 half bytes */

#if defined(__AMX_BF16__) && defined(__linux__) && !defined(FORETHOUGHT_NO_AMX) && !defined(FORETHOUGHT_FLOAT32)
#define FORETHOUGHT_AMX 1
#define MAX_ROWS 32 /* rows of one product */
#else
#define MAX_ROWS 96
#endif
/* Bfloat16 instructions take two neighbours in depth at a time, so these lie side by side. */
#if defined(FORETHOUGHT_AMX) || (defined(__AVX512BF16__) && !defined(FORETHOUGHT_NO_PAIRS) && !defined(FORETHOUGHT_FLOAT32))
#define FORETHOUGHT_PAIRS 1
#endif

/* Where a tile keeps the value at depth k of column n. */
INLINE int slot(int k, int n) {
#ifdef FORETHOUGHT_PAIRS
  return k / 2 * 32 + n * 2 + k % 2;
#else
  return k * 16 + n;
#endif
}

/* The same for the half bytes of INT4: a shift of a vector's lanes finds the next row of pairs. */
INLINE int half_byte_slot(int k, int n) {
  const int row = k / 2, odd = k % 2;
#ifdef FORETHOUGHT_AMX /* lanes of 32 bits hold eight rows of one value */
  return (row / 8 * 128 + n / 8 * 64 + n % 8 * 8 + odd * 4) * 2 + row % 8;
#else /* lanes of 16 bits hold four */
  return (row / 4 * 64 + n * 4 + odd * 2) * 2 + row % 4;
#endif
}

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
