/* For compiling llama.cpp with GCC 12: its _tile_loadconfig tells the optimiser that 8 of the 64 bytes are read, so
   the stores of the others are removed and the first AMX product ends in a segmentation fault. */
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])(config)))
