/* The decoder, one step: token ids in, logits out. Called from Python through ctypes (library.py declares the same
 * structures). All threads walk through the layers together, phase by phase (pool.h). */
#define _GNU_SOURCE
#include "attention.h"
#include "linear.h"
#include "packing.h"
#include <sys/mman.h>

typedef struct {
  const float *attention_norm, *mlp_norm; /* [hidden] */
  const float *query_norm, *key_norm;     /* [head_dim as the model has it] or NULL */
  Linear qkv, output, gate_up, down;
} Layer;

typedef struct {
  int32_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocabulary, window;
  float rms_epsilon;
  const real *embedding; /* [vocabulary][hidden] */
  const float *cosine, *sine; /* [max_positions][head_dim / 2] */
  const float *final_norm;
  const Layer *layer;
  Linear head;
  real *cache; /* [layer][block][kv head][keys, values] */
  int64_t blocks;
} Model;

typedef struct {
  int32_t tokens, sequences, table_width, logit_rows;
  const int32_t *token_ids, *positions; /* [tokens] */
  const int32_t *starts;                /* [sequences + 1] */
  const int32_t *tables;                /* [sequences][table_width] */
  const int32_t *wanted;                /* [logit_rows] */
  const float *const *embeddings;       /* [tokens]: a given embedding or NULL; or NULL for none */
  float *logits;                        /* [logit_rows][vocabulary] */
} Batch;

/* What a step computes on the way; grows with the largest batch and is kept. */
typedef struct {
  Pool *pool;
  const Model *model;
  const Batch *batch;
  long capacity, pieces, piece_capacity;
  int padded_dim, width; /* head_dim rounded up to 32; columns of the fused query, key, value product */
  long ld_hidden, ld_heads, ld_intermediate;
  float *residual, *qkv;
  real *normed, *heads_out, *queries, *gated;
  Piece *piece;
  struct ThreadScratch *scratch;
} State;

typedef struct ThreadScratch {
  void *product;
  float *key, *out;
  real *queries;
  AttentionScratch attention;
} ThreadScratch;

/* Rows are padded by one cache line, so that the rows of a tile do not fall into the same cache sets. */
static long stride(long n) { return round_up(n, PANEL) + PANEL; }

static void *room(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  if (bytes >= 1 << 22) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

void *forethought_room(int64_t bytes) { return room((size_t)bytes); }
void forethought_room_free(void *p, int64_t bytes) { munmap(p, (size_t)bytes); }
int forethought_tiles(void) { return tiles_request(); }
int64_t forethought_tile_bytes(int format) { return tile_bytes(format); }
int forethought_panel(void) { return PANEL; }
int forethought_uses_amx(void) {
#ifdef FORETHOUGHT_AMX
  return 1;
#else
  return 0;
#endif
}

static void rms_norm(const float *x, const float *weight, long n, float epsilon, float *y) {
  f16x squares = splat(0);
  long i = 0;
  for (; i + LANES <= n; i += LANES) squares += load16(x + i) * load16(x + i);
  float sum = sum16(squares);
  for (; i < n; i++) sum += x[i] * x[i];
  const float scale = 1.0f / sqrtf(sum / (float)n + epsilon);
  for (i = 0; i + LANES <= n; i += LANES) store16(y + i, load16(x + i) * scale * load16(weight + i));
  for (; i < n; i++) y[i] = x[i] * scale * weight[i];
}

static void round_row(const float *x, long n, real *y) {
  long i = 0;
  for (; i + LANES <= n; i += LANES) store16_real(y + i, load16(x + i));
  for (; i < n; i++) y[i] = to_real(x[i]);
}

/* ---- the work of the phases ----
 *
 * What a phase works on lies with the thread, not in the shared state: a thread that comes late to a phase that is over
 * must not disturb the next one. */
typedef struct {
  State *state;
  const Layer *layer;
  const float *norm;   /* of a norm, its weights, */
  const int32_t *rows; /* and the rows of the residual stream (NULL: all) */
  const Linear *weights;
  Product product;
  Attention attention;
} Task;

static void norm_rows(void *argument, int thread, long from, long to) {
  (void)thread;
  const Task *task = argument;
  State *s = task->state;
  const Model *m = s->model;
  float y[m->hidden];
  for (long r = from; r < to; r++) {
    const float *x = s->residual + (task->rows ? task->rows[r] : r) * m->hidden;
    rms_norm(x, task->norm, m->hidden, m->rms_epsilon, y);
    round_row(y, m->hidden, s->normed + r * s->ld_hidden);
  }
}

static void multiply_panels(void *argument, int thread, long from, long to) {
  const Task *task = argument;
  linear(task->weights, &task->product, from, to, task->state->scratch[thread].product);
}

static void embed_rows(void *argument, int thread, long from, long to) {
  (void)thread;
  State *s = ((const Task *)argument)->state;
  const Model *m = s->model;
  const Batch *b = s->batch;
  for (long r = from; r < to; r++) {
    float *x = s->residual + r * m->hidden;
    if (b->embeddings && b->embeddings[r]) {
      memcpy(x, b->embeddings[r], (size_t)m->hidden * 4);
      continue;
    }
    const real *e = m->embedding + (long)b->token_ids[r] * m->hidden;
    for (int i = 0; i < m->hidden; i++) x[i] = from_real(e[i]);
  }
}

/* Optional norm and rotary embedding of one head (Su et al., 2021; halves rotated as in Hugging Face). */
static void turn_head(const Model *m, const float *x, const float *norm, long position, float *y) {
  const int half = m->head_dim / 2;
  float normed[m->head_dim];
  if (norm) {
    rms_norm(x, norm, m->head_dim, m->rms_epsilon, normed);
    x = normed;
  }
  const float *c = m->cosine + position * half, *sn = m->sine + position * half;
  for (int i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half];
    y[i] = a * c[i] - b * sn[i];
    y[i + half] = b * c[i] + a * sn[i];
  }
}

/* Queries of tokens [from, to) are rotated and rounded; keys and values go into the cache. */
static void place_tokens(void *argument, int thread, long from, long to) {
  const Task *task = argument;
  State *s = task->state;
  ThreadScratch *t = s->scratch + thread;
  const Layer *layer = task->layer;
  const Attention *a = &task->attention;
  const Model *m = s->model;
  const Batch *b = s->batch;
  long sequence = 0;
  for (long r = from; r < to; r++) {
    while (b->starts[sequence + 1] <= r) sequence++;
    const long position = b->positions[r];
    const float *row = s->qkv + r * s->width;
    for (int h = 0; h < m->heads; h++) {
      turn_head(m, row + h * m->head_dim, layer->query_norm, position, t->key);
      round_row(t->key, s->padded_dim, s->queries + (r * m->heads + h) * s->padded_dim);
    }
    const long block = b->tables[sequence * b->table_width + position / PANEL];
    for (int h = 0; h < m->kv_heads; h++) {
      const float *key = row + (m->heads + h) * m->head_dim, *value = key + m->kv_heads * m->head_dim;
      float padded[s->padded_dim];
      memset(padded, 0, sizeof padded);
      memcpy(padded, value, (size_t)m->head_dim * 4);
      turn_head(m, key, layer->key_norm, position, t->key);
      remember(a, block, (int)(position % PANEL), h, t->key, padded);
    }
  }
}

static void attend_piece(State *s, const Attention *a, ThreadScratch *t, const Piece *piece) {
  const Model *m = s->model;
  const Batch *b = s->batch;
  const int group = m->heads / m->kv_heads, dim = s->padded_dim;
  const long start = b->starts[piece->sequence], tokens = b->starts[piece->sequence + 1] - start;
  Sight sight = {.rows = (int)least(ATTENTION_ROWS, tokens * group - piece->first_row)};
  for (int r = 0; r < sight.rows; r++) {
    const long token = start + (piece->first_row + r) / group;
    const int head = piece->kv_head * group + (piece->first_row + r) % group;
    memcpy(t->queries + r * dim, s->queries + (token * m->heads + head) * dim, (size_t)dim * sizeof(real));
    sight.to[r] = b->positions[token] + 1;
    sight.from[r] = m->window && sight.to[r] > m->window ? sight.to[r] - m->window : 0;
  }
  attend(a, b->tables + (long)piece->sequence * b->table_width, piece->kv_head, &sight, t->queries, &t->attention, t->out);
  for (int r = 0; r < sight.rows; r++) {
    const long token = start + (piece->first_row + r) / group;
    const int head = piece->kv_head * group + (piece->first_row + r) % group;
    round_row(t->out + r * dim, m->head_dim, s->heads_out + token * s->ld_heads + head * m->head_dim);
  }
}

static void attend_pieces(void *argument, int thread, long from, long to) {
  const Task *task = argument;
  State *s = task->state;
  for (long p = from; p < to; p++) attend_piece(s, &task->attention, s->scratch + thread, s->piece + p);
}

static void norm_phase(Member *me, Task *task, const float *norm, const int32_t *rows, long count) {
  task->norm = norm;
  task->rows = rows;
  phase(me, count, even(me), norm_rows, task);
}

static void linear_phase(Member *me, Task *task, const Linear *weights, Product product) {
  task->weights = weights;
  task->product = product;
  phase(me, panels_of(weights), even(me), multiply_panels, task);
}

static void layer_step(Member *me, Task *task, int index) {
  State *s = task->state;
  const Model *m = s->model;
  const Layer *layer = task->layer = m->layer + index;
  const long n = s->batch->tokens, block = 2L * PANEL * s->padded_dim * m->kv_heads;
  task->attention = (Attention){m->kv_heads, s->padded_dim, 1.0f / sqrtf((float)m->head_dim),
                                m->cache + (int64_t)index * m->blocks * block};

  norm_phase(me, task, layer->attention_norm, NULL, n);
  linear_phase(me, task, &layer->qkv, (Product){s->normed, n, s->ld_hidden, s->qkv, s->width, TO_FLOAT});
  phase(me, n, even(me), place_tokens, task);
  phase(me, s->pieces, s->pieces, attend_pieces, task);
  linear_phase(me, task, &layer->output, (Product){s->heads_out, n, s->ld_heads, s->residual, m->hidden, ADD_TO_FLOAT});
  norm_phase(me, task, layer->mlp_norm, NULL, n);
  linear_phase(me, task, &layer->gate_up, (Product){s->normed, n, s->ld_hidden, s->gated, s->ld_intermediate, GATED});
  linear_phase(me, task, &layer->down, (Product){s->gated, n, s->ld_intermediate, s->residual, m->hidden, ADD_TO_FLOAT});
}

static void step_job(void *argument, Member *me) {
  State *s = argument;
  const Model *m = s->model;
  const Batch *b = s->batch;
  Task task = {.state = s};
  phase(me, b->tokens, even(me), embed_rows, &task);
  for (int layer = 0; layer < m->layers; layer++) layer_step(me, &task, layer);
  norm_phase(me, &task, m->final_norm, b->wanted, b->logit_rows);
  if (b->logit_rows)
    linear_phase(me, &task, &m->head, (Product){s->normed, b->logit_rows, s->ld_hidden, b->logits, m->vocabulary, TO_FLOAT});
  tiles_release();
}

static void *zeros(size_t bytes) {
  bytes = (size_t)round_up((long)bytes + 64, 64);
  void *p = aligned_alloc(64, bytes);
  if (p) memset(p, 0, bytes);
  return p;
}

void forethought_state_free(State *s) {
  if (s->scratch)
    for (int t = 0; t < s->pool->threads; t++) {
      ThreadScratch *scratch = s->scratch + t;
      free(scratch->product), free(scratch->queries), free(scratch->out), free(scratch->key);
    }
  free(s->residual), free(s->qkv), free(s->normed), free(s->heads_out), free(s->queries), free(s->gated);
  free(s->piece), free(s->scratch), free(s);
}

/* Room for steps of up to `tokens` tokens. NULL when memory is short. */
State *forethought_state(Pool *pool, const Model *m, int64_t tokens) {
  State *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  const long heads = (long)m->heads * m->head_dim, group = m->heads / m->kv_heads;
  long deepest = m->intermediate > heads ? m->intermediate : heads;
  deepest = round_up(deepest > m->hidden ? deepest : m->hidden, PANEL);
  s->pool = pool;
  s->model = m;
  s->capacity = tokens;
  s->padded_dim = (int)round_up(m->head_dim, PANEL);
  s->width = (m->heads + 2 * m->kv_heads) * m->head_dim;
  s->ld_hidden = stride(m->hidden);
  s->ld_heads = stride(heads);
  s->ld_intermediate = stride(m->intermediate);
  const size_t n = (size_t)tokens, dim = (size_t)s->padded_dim;
  s->residual = zeros(n * (size_t)m->hidden * sizeof(float));
  s->qkv = zeros(n * (size_t)s->width * sizeof(float));
  s->normed = zeros(n * (size_t)s->ld_hidden * sizeof(real));
  s->heads_out = zeros(n * (size_t)s->ld_heads * sizeof(real));
  s->queries = zeros(n * (size_t)m->heads * dim * sizeof(real));
  s->gated = zeros(n * (size_t)s->ld_intermediate * sizeof(real));
  s->piece_capacity = m->kv_heads * (tokens * group / ATTENTION_ROWS + tokens + 1);
  s->piece = zeros((size_t)s->piece_capacity * sizeof(Piece));
  s->scratch = zeros((size_t)pool->threads * sizeof(ThreadScratch));
  int fine = s->residual && s->qkv && s->normed && s->heads_out && s->queries && s->gated && s->piece && s->scratch;
  for (int t = 0; fine && t < pool->threads; t++) {
    ThreadScratch *scratch = s->scratch + t;
    scratch->product = zeros((size_t)(deepest > 4 * PANEL ? deepest : 4 * PANEL) * PANEL * sizeof(real));
    scratch->queries = zeros(ATTENTION_ROWS * dim * sizeof(real));
    scratch->out = zeros(ATTENTION_ROWS * dim * sizeof(float));
    scratch->key = zeros(dim * sizeof(float));
    fine = scratch->product && scratch->queries && scratch->out && scratch->key;
  }
  if (fine) return s;
  forethought_state_free(s);
  return NULL;
}

/* Zeroes a block's values before its first position is written: 0 times what another request left is NaN if that was
 * NaN. (Keys need no such care: what they give is masked, not multiplied.) */
static void clear_values(const Model *m, int64_t block) {
  const long panel = PANEL * round_up(m->head_dim, PANEL), size = 2 * panel * m->kv_heads;
  for (int layer = 0; layer < m->layers; layer++)
    for (int head = 0; head < m->kv_heads; head++)
      memset(m->cache + (layer * m->blocks + block) * size + (2 * head + 1) * panel, 0, (size_t)panel * sizeof(real));
}

/* 0 when done, 1 when the batch is larger than the state has room for. */
int forethought_forward(State *s, const Batch *batch) {
  const int group = s->model->heads / s->model->kv_heads;
  if (batch->tokens > s->capacity || batch->logit_rows > s->capacity) return 1;
  s->batch = batch;
  s->pieces = 0;
  for (int q = 0; q < batch->sequences; q++)
    for (int h = 0; h < s->model->kv_heads; h++)
      for (int row = 0; row < (batch->starts[q + 1] - batch->starts[q]) * group; row += ATTENTION_ROWS) {
        if (s->pieces == s->piece_capacity) return 1;
        s->piece[s->pieces++] = (Piece){q, h, row};
      }
  for (int q = 0; q < batch->sequences; q++)
    for (int r = batch->starts[q]; r < batch->starts[q + 1]; r++)
      if (batch->positions[r] % PANEL == 0)
        clear_values(s->model, batch->tables[(long)q * batch->table_width + batch->positions[r] / PANEL]);
  run(s->pool, step_job, s);
  return 0;
}

void forethought_copy_block(const Model *m, int64_t source, int64_t target) {
  const long block = 2L * PANEL * round_up(m->head_dim, PANEL) * m->kv_heads;
  for (int layer = 0; layer < m->layers; layer++) {
    real *cache = m->cache + layer * m->blocks * block;
    memcpy(cache + target * block, cache + source * block, (size_t)block * sizeof(real));
  }
}
