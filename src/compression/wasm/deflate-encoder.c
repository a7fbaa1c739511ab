/*
 * Deflate (RFC 1951) in the manner of `gzip -9`: hash chains searched deeply, a match put off if the next position has a
 * longer one, blocks of up to 32768 symbols with codes of their own.
 */
#include "chains.h"
#include "crc32.h"
#include "huffman.h"

#define MIN_MATCH 3
#define MAX_MATCH 258
#define MAX_DISTANCE 32768u
#define TOO_FAR 4096u /* farther than this, three literals are shorter than a match of three */
#define MAX_DEPTH 4096
#define GOOD 32 /* behind a match of this length, the search is a quarter as deep */

#define BLOCK_SYMBOLS 32768u
#define MAX_CODE 15
#define LITERALS 286
#define DISTANCES 30
#define LENGTH_CODES 19
#define MAX_LENGTH_CODE 7
#define END_OF_BLOCK 256

struct symbol {
  u16 length;   /* 0: a literal */
  u16 distance; /* or the literal */
};

struct match {
  u32 length, distance;
};

static struct symbol symbols[BLOCK_SYMBOLS + 1];

static struct {
  const u8 *base;
  u32 length, at, inserted, block_start;
  struct match held; /* the match at `at` - 1, if any, that was put off */
  int holding;       /* whether the byte in front of `at` is still to be coded */
  u8 *out;
  u64 bits;
  u32 count;
  int ended;
} s;

EXPORT(output) u8 *output(void) { return s.out; }

static void put(u32 value, u32 n) {
  s.bits |= (u64)value << s.count;
  s.count += n;
  while (s.count >= 8) {
    *s.out++ = (u8)s.bits;
    s.bits >>= 8;
    s.count -= 8;
  }
}

/* ---- Matches ---- */

INLINE u32 hash3(const u8 *p) { return (load32(p) << 8) * 2654435761u >> (32 - HASH_BITS); }

static void insert_up_to(u32 at) {
  for (; s.inserted < at && s.length - s.inserted >= MIN_MATCH; s.inserted++)
    chains_insert(s.inserted, hash3(s.base + s.inserted));
}

/* The longest match at the next position that is longer than `best`; length 0 if none. */
static struct match search(u32 best) {
  const u32 at = s.at, rest = s.length - at, limit = rest < MAX_MATCH ? rest : MAX_MATCH;
  struct match match = {0, 0};
  insert_up_to(at);
  if (rest < MIN_MATCH) return match;
  const u8 *here = s.base + at;
  u32 step = chains_insert(at, hash3(here)), distance = 0;
  s.inserted = at + 1;
  if (best >= limit) return match;
  for (u32 depth = best >= GOOD ? MAX_DEPTH / 4 : MAX_DEPTH; step != 0 && depth > 0; depth--) {
    distance += step;
    if (distance > MAX_DISTANCE) break;
    const u8 *there = here - distance;
    step = chain[(at - distance) % CHAIN_WINDOW];
    if (load16(there + best - 1) != load16(here + best - 1) || load16(there) != load16(here)) continue;
    u32 length = equal_bytes(there, here, limit);
    if (length <= best) continue;
    best = length;
    match.length = length;
    match.distance = distance;
    if (length == limit) break;
  }
  if (match.length == MIN_MATCH && match.distance > TOO_FAR) match.length = 0;
  return match;
}

/* ---- Blocks ---- */

struct code {
  u8 lengths[LITERALS];
  u16 codes[LITERALS];
};

/* Codes with their bits in the order in which they are sent. */
static void make_codes(struct code *code, u32 n) {
  for (u32 length = 1, next = 0; length <= MAX_CODE; length++, next <<= 1)
    for (u32 i = 0; i < n; i++)
      if (code->lengths[i] == length) code->codes[i] = (u16)(__builtin_bitreverse32(next++) >> (32 - length));
}

INLINE void put_code(const struct code *code, u32 symbol) { put(code->codes[symbol], code->lengths[symbol]); }

/* RFC 1951, 3.2.5: the code for a length or distance, how many bits follow it, and their value. */
struct coded {
  u32 code, extra_bits, extra;
};

INLINE struct coded code_length(u32 length) {
  if (length == MAX_MATCH) return (struct coded){285, 0, 0};
  u32 value = length - MIN_MATCH;
  if (value < 8) return (struct coded){257 + value, 0, 0};
  u32 bits = 29 - (u32)__builtin_clz(value);
  return (struct coded){257 + (bits << 2) + (value >> bits), bits, value & ((1u << bits) - 1)};
}

INLINE struct coded code_distance(u32 distance) {
  u32 value = distance - 1;
  if (value < 4) return (struct coded){value, 0, 0};
  u32 bits = 30 - (u32)__builtin_clz(value);
  return (struct coded){(bits << 1) + (value >> bits), bits, value & ((1u << bits) - 1)};
}

static void at_least_two(u32 *counts) {
  u32 used = 0;
  for (u32 i = 0; i < DISTANCES; i++) used += counts[i] != 0;
  for (u32 i = 0; used < 2; i++)
    if (counts[i] == 0) counts[i] = 1, used++;
}

/* Lengths of codes, run-length coded: 16 repeats the last one, 17 and 18 are zeros. */
struct run {
  u8 code, extra_bits, extra;
};

static u32 code_runs(const u8 *lengths, u32 n, struct run *runs) {
  u32 count = 0;
  for (u32 i = 0; i < n;) {
    u32 same = 1;
    while (i + same < n && lengths[i + same] == lengths[i]) same++;
    u32 left = same;
    if (lengths[i] == 0) {
      for (; left >= 11; left -= left < 138 ? left : 138)
        runs[count++] = (struct run){18, 7, (u8)((left < 138 ? left : 138) - 11)};
      if (left >= 3) {
        runs[count++] = (struct run){17, 3, (u8)(left - 3)};
        left = 0;
      }
    } else {
      runs[count++] = (struct run){lengths[i], 0, 0};
      left--;
      while (left >= 3) {
        u32 part = left < 6 ? left : 6;
        runs[count++] = (struct run){16, 2, (u8)(part - 3)};
        left -= part;
      }
    }
    for (; left > 0; left--) runs[count++] = (struct run){lengths[i], 0, 0};
    i += same;
  }
  return count;
}

static void put_stored(u32 from, u32 to, int last) {
  do {
    u32 part = to - from < 65535 ? to - from : 65535;
    put(last && from + part == to, 1);
    put(0, 2);
    if (s.count > 0) put(0, 8 - s.count);
    put(part, 16);
    put(part ^ 0xffff, 16);
    __builtin_memcpy(s.out, s.base + from, part);
    s.out += part;
    from += part;
  } while (from < to);
}

static void put_block(u32 count, u32 from, u32 to, int last) {
  static const u8 order[LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  u32 literals[LITERALS] = {0}, distances[DISTANCES] = {0}, length_counts[LENGTH_CODES] = {0};
  struct code literal_code, distance_code, length_code;
  struct run runs[LITERALS + DISTANCES];
  u8 all[LITERALS + DISTANCES];
  u64 cost = 0;
  literals[END_OF_BLOCK] = 1;
  for (u32 i = 0; i < count; i++) {
    if (symbols[i].length == 0) {
      literals[symbols[i].distance]++;
      continue;
    }
    struct coded length = code_length(symbols[i].length), distance = code_distance(symbols[i].distance);
    literals[length.code]++;
    distances[distance.code]++;
    cost += length.extra_bits + distance.extra_bits;
  }
  if (count == 0) {
    put_stored(from, to, last);
    return;
  }
  at_least_two(distances);
  huffman_lengths(literals, LITERALS, MAX_CODE, literal_code.lengths);
  huffman_lengths(distances, DISTANCES, MAX_CODE, distance_code.lengths);
  u32 literal_count = LITERALS, distance_count = DISTANCES, length_count = LENGTH_CODES;
  while (literal_code.lengths[literal_count - 1] == 0) literal_count--;
  while (distance_code.lengths[distance_count - 1] == 0) distance_count--;
  __builtin_memcpy(all, literal_code.lengths, literal_count);
  __builtin_memcpy(all + literal_count, distance_code.lengths, distance_count);
  u32 run_count = code_runs(all, literal_count + distance_count, runs);
  for (u32 i = 0; i < run_count; i++) length_counts[runs[i].code]++;
  huffman_lengths(length_counts, LENGTH_CODES, MAX_LENGTH_CODE, length_code.lengths);
  while (length_code.lengths[order[length_count - 1]] == 0) length_count--;

  for (u32 i = 0; i < LITERALS; i++) cost += (u64)literals[i] * literal_code.lengths[i];
  for (u32 i = 0; i < DISTANCES; i++) cost += (u64)distances[i] * distance_code.lengths[i];
  for (u32 i = 0; i < run_count; i++) cost += length_code.lengths[runs[i].code] + runs[i].extra_bits;
  cost += 17 + 3 * length_count;
  if (cost > (to - from + 5) * 8ull) {
    put_stored(from, to, last);
    return;
  }

  make_codes(&literal_code, LITERALS);
  make_codes(&distance_code, DISTANCES);
  make_codes(&length_code, LENGTH_CODES);
  put((u32)last, 1);
  put(2, 2);
  put(literal_count - 257, 5);
  put(distance_count - 1, 5);
  put(length_count - 4, 4);
  for (u32 i = 0; i < length_count; i++) put(length_code.lengths[order[i]], 3);
  for (u32 i = 0; i < run_count; i++) {
    put_code(&length_code, runs[i].code);
    put(runs[i].extra, runs[i].extra_bits);
  }
  for (u32 i = 0; i < count; i++) {
    if (symbols[i].length == 0) {
      put_code(&literal_code, symbols[i].distance);
      continue;
    }
    struct coded length = code_length(symbols[i].length), distance = code_distance(symbols[i].distance);
    put_code(&literal_code, length.code);
    put(length.extra, length.extra_bits);
    put_code(&distance_code, distance.code);
    put(distance.extra, distance.extra_bits);
  }
  put_code(&literal_code, END_OF_BLOCK);
}

EXPORT(encode_begin) void encode_begin(const u8 *in, u32 length, u8 *out) {
  chains_reset();
  s.base = in;
  s.length = length;
  s.at = s.inserted = s.block_start = 0;
  s.held.length = 0;
  s.holding = 0;
  s.out = out;
  s.bits = s.count = 0;
  s.ended = 0;
}

/* One block, which takes less than 256 KiB; DONE when there is no more. */
EXPORT(encode_run) int encode_run(void) {
  u32 count = 0;
  if (s.ended) return DONE;
  while (count < BLOCK_SYMBOLS && s.at < s.length) {
    struct match match = {0, 0};
    if (s.held.length < MAX_MATCH) match = search(s.held.length < MIN_MATCH ? MIN_MATCH - 1 : s.held.length);
    if (s.held.length > 0 && match.length == 0) { /* nothing better: the match of the byte before */
      symbols[count++] = (struct symbol){(u16)s.held.length, (u16)s.held.distance};
      s.at += s.held.length - 1;
      s.held.length = 0;
      s.holding = 0;
      continue;
    }
    if (s.holding) symbols[count++] = (struct symbol){0, s.base[s.at - 1]};
    s.held = match;
    s.holding = 1;
    s.at++;
  }
  /* At the end of the input a held byte has no match: every match would have been taken. */
  int last = s.at == s.length;
  if (last && s.holding) {
    symbols[count++] = (struct symbol){0, s.base[s.at - 1]};
    s.holding = 0;
  }
  u32 to = s.at - (u32)s.holding;
  put_block(count, s.block_start, to, last);
  s.block_start = to;
  if (last) {
    if (s.count > 0) put(0, 8 - s.count);
    s.ended = 1;
  }
  return last ? DONE : MORE;
}
