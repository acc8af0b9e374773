/* y = x W^T for a batch of rows, with what follows done while the sums are still in the cache. */
#pragma once
#include "product.h"

typedef enum { TO_FLOAT, ADD_TO_FLOAT, GATED } Ending;

typedef struct {
  const real *x; /* [rows][ldx] */
  long rows, ldx;
  void *y; /* float or real [rows][ldy] */
  long ldy;
  Ending ending;
} Product;

/* GATED: the upper half of a panel are gates, the lower half the values they gate (SwiGLU). */
static void finish_block(const Linear *w, const Product *p, long panel, long first_row, int rows, const float *c) {
  const long column = panel * PANEL, columns = least(PANEL, w->columns - column);
  if (p->ending == GATED) {
    real *y = (real *)p->y + first_row * p->ldy + panel * 16;
    for (int r = 0; r < rows; r++)
      store16_real(y + r * p->ldy, silu16(load16(c + r * PANEL)) * load16(c + r * PANEL + 16));
    return;
  }
  float *y = (float *)p->y + first_row * p->ldy + column;
  for (int r = 0; r < rows; r++, y += p->ldy, c += PANEL) {
    if (columns == PANEL && !w->bias) {
      f16x low = load16(c), high = load16(c + 16);
      if (p->ending == ADD_TO_FLOAT) low += load16(y), high += load16(y + 16);
      store16(y, low);
      store16(y + 16, high);
    } else
      for (long n = 0; n < columns; n++)
        y[n] = c[n] + (w->bias ? w->bias[column + n] : 0) + (p->ending == ADD_TO_FLOAT ? y[n] : 0);
  }
}

#ifdef FORETHOUGHT_AMX

#define FEW_STEPS 4          /* stay in the first cache */
#define ALL_STEPS (1L << 40) /* the panel is needed again */

/* Panels [from, to) of the product. `scratch` holds one unpacked panel. */
static void linear(const Linear *w, const Product *p, long from, long to, void *scratch) {
  _Alignas(64) float c[MAX_ROWS * PANEL];
  for (long panel = from; panel < to; panel++) {
    const real *values = w->format == PLAIN ? (const real *)(w->data + panel * panel_bytes(w)) : NULL;
    for (long row = 0, rows; row < p->rows; row += rows) {
      const real *x = p->x + row * p->ldx;
      rows = least(MAX_ROWS, p->rows - row);
      if (values) {
        multiply((int)rows, steps_of(w), x, p->ldx, values, c, PANEL);
      } else {
        multiply_packed((int)rows, w, panel, x, p->ldx, scratch, rows == p->rows ? FEW_STEPS : ALL_STEPS, c);
        values = scratch;
      }
      finish_block(w, p, panel, row, (int)rows, c);
    }
  }
}

#else

/* Panels [from, to) of the product. They stay in the second cache while one block of rows after the other passes.
 * `scratch` holds the totals of that block. */
static void linear(const Linear *w, const Product *p, long from, long to, void *scratch) {
  _Alignas(64) float c[MAX_ROWS * PANEL];
  const long steps = steps_of(w);
  for (long row = 0, rows; row < p->rows; row += rows) {
    const real *x = p->x + row * p->ldx;
    rows = least(MAX_ROWS, p->rows - row);
    if (w->format == INT4) total_steps((int)rows, steps, x, p->ldx, scratch);
    for (long panel = from; panel < to; panel++) {
      const uint8_t *data = w->data + panel * panel_bytes(w);
      if (w->format == PLAIN)
        multiply((int)rows, steps, x, p->ldx, (const real *)data, c, PANEL);
      else
        multiply_packed((int)rows, w->format, steps, x, p->ldx, data, scratch, c);
      finish_block(w, p, panel, row, (int)rows, c);
    }
  }
}

#endif
