/* A fixed team of threads that run one function together, with barriers inside it.
 *
 * The work of a step is cut into some 200 phases of about ten microseconds, so threads spin at a barrier and
 * sleep only between steps. */
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "numbers.h"

typedef struct Pool Pool;
typedef void (*Job)(void *argument, Pool *pool, int thread);

struct Pool {
  int threads;
  Job job;
  void *argument;
  _Alignas(64) atomic_int arrived;
  _Alignas(64) atomic_int generation;
  _Alignas(64) atomic_int epoch;
  atomic_int sleepers, stop;
  _Alignas(64) atomic_long next; /* shared work counter, see take() */
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_t *handles;
};

INLINE void relax(void) {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Every thread waits here for the others. The last one resets the work counter. */
static void barrier(Pool *pool) {
  if (pool->threads == 1) {
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    return;
  }
  int generation = atomic_load_explicit(&pool->generation, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) == pool->threads - 1) {
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->generation, generation + 1, memory_order_release);
    return;
  }
  for (int spins = 0; atomic_load_explicit(&pool->generation, memory_order_acquire) == generation; spins++)
    spins < 4000 ? relax() : (void)sched_yield(); /* yield: another program may hold our core */
}

/* The next piece of shared work; pieces are handed out in order. */
INLINE long take(Pool *pool) { return atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed); }

/* This thread's share [*from, *to) of n equal pieces. */
INLINE void share(Pool *pool, int thread, long n, long *from, long *to) {
  *from = n * thread / pool->threads;
  *to = n * (thread + 1) / pool->threads;
}

typedef struct {
  Pool *pool;
  int thread;
} Seat;

static void *worker(void *argument) {
  Seat seat = *(Seat *)argument;
  free(argument);
  Pool *pool = seat.pool;
  int seen = 0;
  for (;;) {
    for (int spins = 0; spins < 2000 && atomic_load_explicit(&pool->epoch, memory_order_acquire) == seen; spins++)
      relax();
    if (atomic_load_explicit(&pool->epoch, memory_order_acquire) == seen) {
      pthread_mutex_lock(&pool->mutex);
      while (atomic_load(&pool->epoch) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
      pthread_mutex_unlock(&pool->mutex);
    }
    seen++;
    if (atomic_load(&pool->stop)) return NULL;
    pool->job(pool->argument, pool, seat.thread);
    barrier(pool);
  }
}

static void run(Pool *pool, Job job, void *argument) {
  pool->job = job;
  pool->argument = argument;
  atomic_store(&pool->next, 0);
  if (pool->threads > 1) {
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->epoch, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
  }
  job(argument, pool, 0);
  barrier(pool);
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
    Seat *seat = malloc(sizeof *seat);
    *seat = (Seat){pool, t};
    if (pthread_create(&pool->handles[t], NULL, worker, seat)) {
      free(seat);
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
