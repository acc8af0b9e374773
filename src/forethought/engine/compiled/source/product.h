/* The one inner product of the engine: rows (at most MAX_ROWS) times a panel of 32 columns, in float32. Linear layers and
 * attention are made of it. What is added up for a row, and in which order, does not depend on the other rows: a request
 * gives the same bits alone and in a batch. */
#pragma once
#include "panels.h"
#ifdef FORETHOUGHT_AMX
#include "tiles.h"
#else
#include "vectors.h"
#endif
