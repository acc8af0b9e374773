/* Attention over a block cache.
 *
 * A block holds 32 positions. For each key/value head it has two panels' worth of values: the keys as a panel whose
 * columns are positions (scores are queries times that panel), and the values as panels whose columns are dimensions
 * and whose one step is the block's 32 positions (outputs are probabilities times those panels).
 *
 * Up to 16 rows (query token, head of the group) that share a key/value head are computed together. Positions
 * are taken in chunks that begin at fixed multiples of CHUNK and are merged by their running maximum (Milakov and
 * Gimelshein, 2018), so the result does not depend on how a prompt was cut into steps. */
#pragma once
#include "pool.h"
#include "product.h"

#define ATTENTION_ROWS 16
#define CHUNK 2048 /* positions; a multiple of PANEL */
#define SCORES (CHUNK + PANEL) /* of a row, padded so that rows do not fall into the same cache sets */

typedef struct {
  int kv_heads, head_dim; /* head_dim is a multiple of 32, padded with zeros if need be */
  float scale;
  real *cache; /* this layer's blocks: [block][kv head][keys 32 x head_dim, values 32 x head_dim] */
} Attention;

typedef struct {
  int32_t sequence, kv_head, first_row;
} Piece;

typedef struct {
  float scores[ATTENTION_ROWS * SCORES];
  real probabilities[ATTENTION_ROWS * SCORES];
  float block[ATTENTION_ROWS * PANEL];
  int64_t offsets[CHUNK / PANEL];
} AttentionScratch;

INLINE long head_block(const Attention *a) { return 2L * PANEL * a->head_dim; }
INLINE real *keys_of(const Attention *a, long block, int kv_head) {
  return a->cache + (block * a->kv_heads + kv_head) * head_block(a);
}
INLINE real *values_of(const Attention *a, long block, int kv_head) {
  return keys_of(a, block, kv_head) + PANEL * a->head_dim;
}

/* Writes one position's key and value (head_dim floats each) into its block. */
static void remember(const Attention *a, long block, int at, int kv_head, const float *key, const float *value) {
  real *keys = keys_of(a, block, kv_head), *values = values_of(a, block, kv_head);
  for (int d = 0; d < a->head_dim; d++) {
    keys[d / 32 * STEP + at / 16 * TILE + slot(d % 32, at % 16)] = to_real(key[d]);
    values[d / 32 * STEP + d % 32 / 16 * TILE + slot(at, d % 16)] = to_real(value[d]);
  }
}

/* Row r of a piece may see positions from[r] to to[r] - 1. */
typedef struct {
  int rows;
  long from[ATTENTION_ROWS], to[ATTENTION_ROWS];
} Sight;

/* Scores of `blocks` blocks from position `start` become unnormalised probabilities; gives each row's largest score and its
 * sum. */
static void soften(const Sight *sight, long start, long blocks, float scale, AttentionScratch *s, float *maxima,
                   float *sums) {
  const i16x lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const int length = (int)(blocks * PANEL);
  for (int r = 0; r < sight->rows; r++) {
    float *score = s->scores + r * SCORES;
    real *probability = s->probabilities + r * SCORES;
    const int low = (int)(sight->from[r] - start), high = (int)(sight->to[r] - start);
    f16x top = splat(-INFINITY);
    for (int i = 0; i < length; i += LANES) {
      if (i < low || i + LANES > high) { /* not all of these positions can be seen */
        const i16x at = lanes + i;
        store16(score + i, select16((at >= low) & (at < high), load16(score + i), splat(-INFINITY)));
      }
      top = vmax(top, load16(score + i));
    }
    maxima[r] = max16(top) * scale;
    const f16x reach = splat(maxima[r] == -INFINITY ? 0 : maxima[r]), by = splat(scale);
    f16x sum = splat(0);
    for (int i = 0; i < length; i += LANES) {
      f16x p = exp16(load16(score + i) * by - reach);
      if (i < low || i + LANES > high) {
        const i16x at = lanes + i;
        p = select16((at >= low) & (at < high), p, splat(0));
      }
      store16_real(probability + i, p);
      sum += p;
    }
    sums[r] = sum16(sum);
  }
}

/* One piece: queries [rows][head_dim] (bfloat16) against the cache; output [rows][head_dim] in float32. */
static void attend(const Attention *a, const int32_t *table, int kv_head, const Sight *sight, const real *queries,
                   AttentionScratch *s, float *out) {
  float maxima[ATTENTION_ROWS], sums[ATTENTION_ROWS];
  const int dim = a->head_dim, rows = sight->rows;
  long first = sight->from[0], end = 0;
  for (int r = 0; r < rows; r++) {
    maxima[r] = -INFINITY, sums[r] = 0;
    first = least(first, sight->from[r]);
    end = sight->to[r] > end ? sight->to[r] : end;
  }
  memset(out, 0, (size_t)(rows * dim) * 4);
  for (long start = first / CHUNK * CHUNK; start < end; start += CHUNK) {
    const long begin = start + (first > start ? (first - start) / PANEL * PANEL : 0);
    const long blocks = (least(start + CHUNK, end) - begin + PANEL - 1) / PANEL;
    for (long b = 0; b < blocks; b++) {
      const long block = table[begin / PANEL + b];
      if (b + 1 < blocks) fetch(keys_of(a, table[begin / PANEL + b + 1], kv_head), head_block(a) * (long)sizeof(real));
      multiply(rows, dim / PANEL, queries, dim, keys_of(a, block, kv_head), s->scores + b * PANEL, SCORES);
      s->offsets[b] = values_of(a, block, kv_head) - a->cache;
    }
    float chunk_maxima[ATTENTION_ROWS], chunk_sums[ATTENTION_ROWS];
    soften(sight, begin, blocks, a->scale, s, chunk_maxima, chunk_sums);
    float old[ATTENTION_ROWS], new[ATTENTION_ROWS];
    for (int r = 0; r < rows; r++) {
      const float maximum = chunk_maxima[r] > maxima[r] ? chunk_maxima[r] : maxima[r];
      old[r] = maxima[r] == -INFINITY ? 0 : expf(maxima[r] - maximum);
      new[r] = chunk_maxima[r] == -INFINITY ? 0 : expf(chunk_maxima[r] - maximum);
      sums[r] = sums[r] * old[r] + chunk_sums[r] * new[r];
      maxima[r] = maximum;
    }
    for (int d = 0; d < dim; d += PANEL) {
      multiply_scattered(rows, blocks, s->probabilities, SCORES, a->cache + (d / PANEL) * STEP, s->offsets,
                         s->block, PANEL);
      for (int r = 0; r < rows; r++)
        for (int half = 0; half < PANEL; half += LANES) {
          float *o = out + r * dim + d + half;
          store16(o, load16(o) * old[r] + load16(s->block + r * PANEL + half) * new[r]);
        }
    }
  }
  for (int r = 0; r < rows; r++)
    for (int d = 0; d < dim; d += LANES) store16(out + r * dim + d, load16(out + r * dim + d) / sums[r]);
}
