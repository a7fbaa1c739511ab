/* Huffman codes for encoders. */
#ifndef HUFFMAN_H
#define HUFFMAN_H

#include "codec.h"

#define HUFFMAN_SYMBOLS 288

/* Lengths of a code for `counts`, none above `longest`; 0 for symbols that do not occur. At least two must occur. */
static void huffman_lengths(const u32 *counts, u32 n, u32 longest, u8 *to) {
  u32 weights[HUFFMAN_SYMBOLS];
  __builtin_memcpy(weights, counts, n * sizeof *counts);
  for (;;) {
    u16 sorted[HUFFMAN_SYMBOLS], parent[2 * HUFFMAN_SYMBOLS];
    u32 merged[HUFFMAN_SYMBOLS], used = 0;
    for (u32 i = 0; i < n; i++) {
      if (weights[i] == 0) continue;
      u32 j = used++;
      for (; j > 0 && weights[sorted[j - 1]] > weights[i]; j--) sorted[j] = sorted[j - 1];
      sorted[j] = (u16)i;
    }
    /* Two queues, both in ascending order: symbols, and nodes that were made of two. */
    u32 leaf = 0, node = 0, made = 0;
    while (made < used - 1) {
      u32 sum = 0;
      for (int k = 0; k < 2; k++) {
        if (leaf < used && (node == made || weights[sorted[leaf]] <= merged[node])) {
          sum += weights[sorted[leaf]];
          parent[sorted[leaf++]] = (u16)made;
        } else {
          sum += merged[node];
          parent[HUFFMAN_SYMBOLS + node++] = (u16)made;
        }
      }
      merged[made++] = sum;
    }
    u8 depth[HUFFMAN_SYMBOLS];
    u32 deepest = 0;
    depth[made - 1] = 0;
    for (u32 i = made - 1; i-- > 0;) depth[i] = (u8)(depth[parent[HUFFMAN_SYMBOLS + i]] + 1);
    for (u32 i = 0; i < n; i++) {
      to[i] = weights[i] ? (u8)(depth[parent[i]] + 1) : 0;
      if (to[i] > deepest) deepest = to[i];
    }
    if (deepest <= longest) return;
    for (u32 i = 0; i < n; i++) weights[i] = weights[i] ? weights[i] / 2 + 1 : 0;
  }
}

#endif
