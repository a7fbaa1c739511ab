/* Hash chains over the last 64 KiB: for a position, earlier ones that begin with the same bytes, the nearest first. */
#ifndef CHAINS_H
#define CHAINS_H

#include "codec.h"

#define HASH_BITS 16
#define CHAIN_WINDOW 65536u

static u32 heads[1 << HASH_BITS]; /* position + 1; 0: none */
static u16 chain[CHAIN_WINDOW];   /* distance to the previous position with the same hash; 0: none within reach */

static void chains_reset(void) { __builtin_memset(heads, 0, sizeof heads); }

/* Adds `position`, whose first bytes hash to `hash`; returns the distance to the nearest candidate, 0 if none. */
INLINE u32 chains_insert(u32 position, u32 hash) {
  u32 distance = heads[hash] == 0 ? 0 : position + 1 - heads[hash];
  if (distance >= CHAIN_WINDOW) distance = 0;
  heads[hash] = position + 1;
  chain[position % CHAIN_WINDOW] = (u16)distance;
  return distance;
}

/* How many bytes at `a` and `b` are equal, up to `limit`; reads up to 7 bytes behind it. */
INLINE u32 equal_bytes(const u8 *a, const u8 *b, u32 limit) {
  u32 length = 0;
  while (length < limit) {
    u64 difference = load64(a + length) ^ load64(b + length);
    if (difference != 0) {
      length += (u32)__builtin_ctzll(difference) >> 3;
      return length < limit ? length : limit;
    }
    length += 8;
  }
  return limit;
}

#endif
