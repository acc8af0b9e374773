/* A team of threads that walk through the phases of one job together.
 *
 * A phase is a number of pieces of work. Threads take pieces until none is left and then wait for the last one to be
 * done: for the *work*, not for each other. A thread that the operating system has put aside (a server beside us, a
 * laptop with other things to do) holds up nobody unless it holds a piece; when it comes back, it walks past the phases
 * that are over. A step has some 240 phases of about 30 microseconds, so waiting threads spin, and sleep only between
 * jobs. */
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "numbers.h"

typedef struct Pool Pool;

typedef struct {
  Pool *pool;
  int thread;
  uint32_t phase; /* the phase this thread comes to next */
} Member;

typedef void (*Job)(void *argument, Member *me);
typedef void (*Work)(void *argument, int thread, long from, long to);

struct Pool {
  int threads;
  Job job;
  void *argument;
  uint32_t first_phase;
  _Alignas(64) _Atomic uint64_t cursor; /* phase << 32 | next piece */
  _Alignas(64) _Atomic long done;       /* pieces of this phase that are finished */
  _Alignas(64) atomic_int epoch;        /* counts jobs */
  atomic_int inside, open, stop;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_t *handles;
};

INLINE void relax(int turn) {
  if (turn > 2000) {
    sched_yield(); /* the thread we wait for may need this core */
    return;
  }
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Does `units` of work, cut into at most `pieces` pieces, with whoever else has come. Returns when all is done. */
static void phase(Member *me, long units, long pieces, Work work, void *argument) {
  if (units <= 0) return;
  Pool *pool = me->pool;
  const uint64_t now = me->phase++;
  pieces = least(units, pieces);
  if (pool->threads == 1) {
    work(argument, me->thread, 0, units);
    return;
  }
  for (;;) {
    uint64_t cursor = atomic_load_explicit(&pool->cursor, memory_order_acquire);
    const long piece = (long)(cursor & 0xffffffff);
    if (cursor >> 32 != (now & 0xffffffff) || piece >= pieces) break;
    if (!atomic_compare_exchange_weak_explicit(&pool->cursor, &cursor, cursor + 1, memory_order_acq_rel,
                                               memory_order_relaxed))
      continue;
    work(argument, me->thread, units * piece / pieces, units * (piece + 1) / pieces);
    if (atomic_fetch_add_explicit(&pool->done, 1, memory_order_acq_rel) == pieces - 1) {
      atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
      atomic_store_explicit(&pool->cursor, (now + 1) << 32, memory_order_release);
      return;
    }
  }
  for (int turn = 0; atomic_load_explicit(&pool->cursor, memory_order_acquire) >> 32 == (now & 0xffffffff); turn++)
    relax(turn);
}

/* A sensible number of pieces for work whose units are alike: a few per thread, so that the fast ones do more. */
INLINE long even(const Member *me) { return me->pool->threads == 1 ? 1 : me->pool->threads * 4L; }

static void *worker(void *argument) {
  Member me = *(Member *)argument;
  free(argument);
  Pool *pool = me.pool;
  for (int seen = 0;;) {
    for (int turn = 0; turn < 1000 && atomic_load_explicit(&pool->epoch, memory_order_acquire) == seen; turn++) relax(0);
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->epoch) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    if (atomic_load(&pool->stop)) return NULL;
    atomic_fetch_add(&pool->inside, 1);
    seen = atomic_load(&pool->epoch);
    if (atomic_load(&pool->open)) { /* else the job ended without us */
      me.phase = pool->first_phase;
      pool->job(pool->argument, &me);
    }
    atomic_fetch_sub(&pool->inside, 1);
  }
}

/* Runs a job on the team and on the calling thread; returns when it is done and every thread has left it. */
static void run(Pool *pool, Job job, void *argument) {
  pool->job = job;
  pool->argument = argument;
  pool->first_phase = (uint32_t)(atomic_load(&pool->cursor) >> 32);
  Member me = {pool, 0, pool->first_phase};
  if (pool->threads > 1) {
    atomic_store(&pool->open, 1);
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->epoch, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
  }
  job(argument, &me);
  atomic_store(&pool->open, 0);
  for (int turn = 0; atomic_load(&pool->inside); turn++) relax(turn);
}

Pool *forethought_pool(int threads) {
  Pool *pool = aligned_alloc(64, (size_t)round_up(sizeof(Pool), 64));
  if (!pool) return NULL;
  memset(pool, 0, sizeof *pool);
  pool->threads = threads;
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pool->handles = calloc((size_t)threads, sizeof(pthread_t));
  for (int t = 1; t < threads; t++) {
    Member *member = malloc(sizeof *member);
    if (member) *member = (Member){pool, t, 0};
    if (!member || pthread_create(&pool->handles[t], NULL, worker, member)) {
      free(member);
      pool->threads = t; /* go on with the threads there are */
      break;
    }
  }
  return pool;
}

void forethought_pool_free(Pool *pool) {
  atomic_store(&pool->stop, 1);
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->epoch, 1);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  for (int t = 1; t < pool->threads; t++) pthread_join(pool->handles[t], NULL);
  pthread_mutex_destroy(&pool->mutex);
  pthread_cond_destroy(&pool->wake);
  free(pool->handles);
  free(pool);
}
