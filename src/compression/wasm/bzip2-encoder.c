/*
 * bzip2 compression, as `bzip2 -9` does it: run lengths, Burrows-Wheeler transform, move-to-front, and up to six Huffman
 * codes a block.
 */
#include "codec.h"
#include "huffman.h"

#define LEVEL 9
#define BLOCK_MAX (LEVEL * 100000u - 19) /* as the reference implementation: room for a run and its count */
#define WRAP 64
#define SYMBOLS 258
#define TABLES 6
#define GROUP 50
#define MAX_CODE 17
#define ROUNDS 4
#define DIRECT_DEPTH 50 /* bytes that are compared directly; beyond, ranks are */

static u8 block[BLOCK_MAX + WRAP];
static u32 order[BLOCK_MAX];     /* rotations, by their first byte's position, as far as they are sorted */
static u32 ranks[BLOCK_MAX];     /* of each rotation: where its group begins in `order` */
static u64 keys[BLOCK_MAX];      /* what `order` is being sorted by */
static u8 first[BLOCK_MAX + 1];  /* whether a group of equal rotations begins here */
static u32 buckets[65536 + 1];
static u16 symbols[BLOCK_MAX + 1];
static u8 selectors[BLOCK_MAX / GROUP + 2];
static u8 lengths[TABLES][SYMBOLS];
static u32 codes[TABLES][SYMBOLS];
static u32 crc_table[256];

static struct {
  const u8 *in, *in_end;
  u8 *out;
  u64 bits;
  u32 count;
  u32 length; /* of the block */
  u32 stream_crc, random;
  int ended;
} s;

EXPORT(output) u8 *output(void) { return s.out; }

static void put(u32 value, u32 n) {
  s.bits = s.bits << n | value;
  s.count += n;
  while (s.count >= 8) {
    s.count -= 8;
    *s.out++ = (u8)(s.bits >> s.count);
  }
}

/* ---- Sorting ---- */

INLINE void swap(u32 a, u32 b) {
  u64 key = keys[a];
  keys[a] = keys[b];
  keys[b] = key;
  u32 at = order[a];
  order[a] = order[b];
  order[b] = at;
}

INLINE u64 middle(u64 a, u64 b, u64 c) { return a < b ? (b < c ? b : a < c ? c : a) : a < c ? a : b < c ? c : b; }

/* Sorts `order` from `low` up to `high` by `keys`. */
static void sort(u32 low, u32 high) {
  while (high - low > 12) {
    const u32 size = high - low;
    s.random = s.random * 1664525 + 1013904223;
    u32 at = low + (u32)((u64)s.random * (size - 2) >> 32);
    u64 pivot = middle(keys[at], keys[low + size / 2], keys[high - 1 - (at - low) / 2]);
    u32 less = low, more = high, i = low;
    while (i < more) {
      u64 key = keys[i];
      if (key < pivot)
        swap(less++, i++);
      else if (key > pivot)
        swap(i, --more);
      else
        i++;
    }
    if (less - low < high - more) {
      sort(low, less);
      low = more;
    } else {
      sort(more, high);
      high = less;
    }
  }
  for (u32 i = low + 1; i < high; i++) {
    u64 key = keys[i];
    u32 at = order[i], j = i;
    for (; j > low && keys[j - 1] > key; j--) {
      keys[j] = keys[j - 1];
      order[j] = order[j - 1];
    }
    keys[j] = key;
    order[j] = at;
  }
}

/* Sorts the rotations from `low` up to `high`, which agree in `depth` bytes, by the bytes behind them. */
static void sort_directly(u32 low, u32 high, u32 depth) {
  const u32 n = s.length;
  for (;;) {
    for (u32 i = low; i < high; i++) {
      u32 at = order[i] + depth;
      keys[i] = __builtin_bswap64(load64(block + (at < n ? at : at % n)));
    }
    sort(low, high);
    depth += 8;
    u32 start = low, last = high;
    for (u32 i = low + 1; i <= high; i++) {
      if (i < high && keys[i] == keys[start]) continue;
      first[start] = 1;
      if (i - start > 1 && depth < DIRECT_DEPTH) {
        if (i - start == high - low) { /* all alike: go on without a call */
          last = low;
          break;
        }
        sort_directly(start, i, depth);
      }
      start = i;
    }
    if (last == high) return;
  }
}

/* Sorts what is still undecided by the ranks of the rotations `depth` bytes on, which doubles the depth every time. */
static void sort_by_ranks(u32 depth) {
  const u32 n = s.length;
  for (u32 i = 0, start = 0; i < n; i++) {
    if (first[i]) start = i;
    ranks[order[i]] = start;
  }
  for (int undecided = 1; undecided && depth < n; depth *= 2) {
    undecided = 0;
    for (u32 low = 0, high; low < n; low = high) {
      for (high = low + 1; high < n && !first[high];) high++;
      if (high - low == 1) continue;
      for (u32 i = low; i < high; i++) {
        u32 at = order[i] + depth;
        keys[i] = ranks[at < n ? at : at - n];
      }
      sort(low, high);
      for (u32 i = low + 1, start = low; i < high; i++) {
        if (keys[i] != keys[i - 1]) {
          first[i] = 1;
          start = i;
        } else {
          undecided = 1;
        }
        ranks[order[i]] = start;
      }
    }
  }
}

static void sort_rotations(void) {
  const u32 n = s.length;
  for (u32 i = 0; i < WRAP; i++) block[n + i] = block[i % n];
  __builtin_memset(buckets, 0, sizeof buckets);
  __builtin_memset(first, 0, n);
  first[n] = 1;
  for (u32 i = 0; i < n; i++) buckets[__builtin_bswap16(load16(block + i)) + 1]++;
  for (u32 i = 0; i < 65536; i++) buckets[i + 1] += buckets[i];
  for (u32 i = 0; i < n; i++) order[buckets[__builtin_bswap16(load16(block + i))]++] = i;
  for (u32 i = 0, low = 0; i < 65536; low = buckets[i++]) {
    if (buckets[i] == low) continue;
    first[low] = 1;
    if (buckets[i] - low > 1) sort_directly(low, buckets[i], 2);
  }
  sort_by_ranks(DIRECT_DEPTH);
}

/* ---- Codes ---- */

static void make_codes(const u8 *of, u32 n, u32 *to) {
  for (u32 length = 1, code = 0; length <= MAX_CODE; length++, code <<= 1)
    for (u32 i = 0; i < n; i++)
      if (of[i] == length) to[i] = code++;
}

/* Chooses a table for every group of 50 symbols, and tables for the groups that chose them, a few times over. */
static u32 choose_tables(u32 count, u32 alphabet, const u32 *totals, u32 tables) {
  u32 groups = (count + GROUP - 1) / GROUP;
  u32 rest = count, low = 0;
  for (u32 t = 0; t < tables; t++) { /* to begin with, each table is for a part of the alphabet */
    u32 share = rest / (tables - t), sum = 0, high = low;
    while (high < alphabet && (sum < share || high == low)) sum += totals[high++];
    for (u32 i = 0; i < alphabet; i++) lengths[t][i] = i >= low && i < high ? 0 : 15;
    low = high;
    rest -= sum < rest ? sum : rest;
  }
  for (int round = 0; round < ROUNDS; round++) {
    u32 counts[TABLES][SYMBOLS]; /* every symbol of the alphabet must have a code */
    for (u32 t = 0; t < tables; t++)
      for (u32 i = 0; i < alphabet; i++) counts[t][i] = 0;
    for (u32 g = 0; g < groups; g++) {
      u32 from = g * GROUP, to = from + GROUP < count ? from + GROUP : count;
      u32 costs[TABLES] = {0}, best = 0;
      for (u32 i = from; i < to; i++)
        for (u32 t = 0; t < tables; t++) costs[t] += lengths[t][symbols[i]];
      for (u32 t = 1; t < tables; t++)
        if (costs[t] < costs[best]) best = t;
      selectors[g] = (u8)best;
      for (u32 i = from; i < to; i++) counts[best][symbols[i]]++;
    }
    for (u32 t = 0; t < tables; t++) {
      for (u32 i = 0; i < alphabet; i++) counts[t][i] += counts[t][i] == 0;
      huffman_lengths(counts[t], alphabet, MAX_CODE, lengths[t]);
    }
  }
  return groups;
}

static void put_tables(u32 tables, u32 groups, u32 alphabet) {
  put(tables, 3);
  put(groups, 15);
  u8 recent[TABLES] = {0, 1, 2, 3, 4, 5};
  for (u32 g = 0; g < groups; g++) {
    u32 rank = 0;
    while (recent[rank] != selectors[g]) rank++;
    for (u32 i = rank; i > 0; i--) recent[i] = recent[i - 1];
    recent[0] = selectors[g];
    put((1u << (rank + 1)) - 2, rank + 1);
  }
  for (u32 t = 0; t < tables; t++) {
    u32 length = lengths[t][0];
    put(length, 5);
    for (u32 i = 0; i < alphabet; i++) {
      for (; length < lengths[t][i]; length++) put(2, 2);
      for (; length > lengths[t][i]; length--) put(3, 2);
      put(0, 1);
    }
  }
}

/* ---- Blocks ---- */

/* Fills `block` with run-length coded input; returns the CRC of the input that went in. */
static u32 fill_block(void) {
  const u8 *in = s.in, *const in_end = s.in_end;
  u32 n = 0;
  while (in < in_end && n < BLOCK_MAX - 5) {
    u8 byte = *in;
    u32 most = (u32)(in_end - in) < 255 ? (u32)(in_end - in) : 255, run = 1;
    while (run < most && in[run] == byte) run++;
    in += run;
    for (u32 i = 0; i < run && i < 4; i++) block[n++] = byte;
    if (run >= 4) block[n++] = (u8)(run - 4);
  }
  u32 crc = 0xffffffffu;
  for (const u8 *p = s.in; p < in; p++) crc = crc << 8 ^ crc_table[crc >> 24 ^ *p];
  s.in = in;
  s.length = n;
  return ~crc;
}

static void put_block(u32 crc) {
  const u32 n = s.length;
  put(0x314159, 24);
  put(0x265359, 24);
  put(crc >> 16, 16);
  put(crc & 0xffff, 16);
  put(0, 1);
  sort_rotations();
  u32 origin = 0;
  while (order[origin] != 0) origin++;
  put(origin, 24);

  u8 used[256] = {0}, recent[256 + 16];
  u32 in_use = 0, map = 0;
  for (u32 i = 0; i < n; i++) used[block[i]] = 1;
  for (u32 i = 0; i < 256; i++) {
    if (!used[i]) continue;
    recent[in_use++] = (u8)i;
    map |= 0x8000u >> (i / 16);
  }
  put(map, 16);
  for (u32 i = 0; i < 16; i++) {
    if (!(map & 0x8000u >> i)) continue;
    u32 bits = 0;
    for (u32 j = 0; j < 16; j++) bits = bits << 1 | used[i * 16 + j];
    put(bits, 16);
  }

  /* Move-to-front; runs of rank 0 as numbers, base 2 with the digits 1 and 2. */
  u32 totals[SYMBOLS] = {0}, count = 0, zeros = 0;
  const u32 alphabet = in_use + 2;
#define FLUSH_ZEROS \
  while (zeros > 0) { \
    u32 digit = (zeros - 1) & 1; \
    symbols[count++] = (u16)digit; \
    totals[digit]++; \
    zeros = (zeros - 1 - digit) / 2; \
  }
  for (u32 i = 0; i < n; i++) {
    u8 byte = block[order[i] ? order[i] - 1 : n - 1];
    if (recent[0] == byte) {
      zeros++;
      continue;
    }
    FLUSH_ZEROS
    u32 rank = 1;
    u8 previous = recent[0];
    for (; recent[rank] != byte; rank++) {
      u8 other = recent[rank];
      recent[rank] = previous;
      previous = other;
    }
    recent[rank] = previous;
    recent[0] = byte;
    symbols[count++] = (u16)(rank + 1);
    totals[rank + 1]++;
  }
  FLUSH_ZEROS
  symbols[count++] = (u16)(alphabet - 1);
  totals[alphabet - 1]++;

  const u32 tables = count < 200 ? 2 : count < 600 ? 3 : count < 1200 ? 4 : count < 2400 ? 5 : 6;
  const u32 groups = choose_tables(count, alphabet, totals, tables);
  put_tables(tables, groups, alphabet);
  for (u32 t = 0; t < tables; t++) make_codes(lengths[t], alphabet, codes[t]);
  for (u32 g = 0, i = 0; g < groups; g++) {
    const u8 *length = lengths[selectors[g]];
    const u32 *code = codes[selectors[g]];
    for (u32 end = i + GROUP < count ? i + GROUP : count; i < end; i++) put(code[symbols[i]], length[symbols[i]]);
  }
}

EXPORT(encode_begin) void encode_begin(const u8 *in, u32 length, u8 *out) {
  for (u32 i = 0; i < 256; i++) {
    u32 crc = i << 24;
    for (int bit = 0; bit < 8; bit++) crc = crc << 1 ^ (0x04c11db7u & (0u - (crc >> 31)));
    crc_table[i] = crc;
  }
  s.in = in;
  s.in_end = in + length;
  s.out = out;
  s.bits = s.count = s.stream_crc = 0;
  s.random = 1;
  s.ended = 0;
  put('B', 8);
  put('Z', 8);
  put('h', 8);
  put('0' + LEVEL, 8);
}

/* One block, or the end; DONE when there is no more. A block takes less than 1.25 MB. */
EXPORT(encode_run) int encode_run(void) {
  if (s.in < s.in_end) {
    u32 crc = fill_block();
    s.stream_crc = (s.stream_crc << 1 | s.stream_crc >> 31) ^ crc;
    put_block(crc);
    return MORE;
  }
  put(0x177245, 24);
  put(0x385090, 24);
  put(s.stream_crc >> 16, 16);
  put(s.stream_crc & 0xffff, 16);
  if (s.count > 0) put(0, 8 - s.count);
  return DONE;
}
