/*
 * LZ4 block compression in the manner of `lz4 -9`: hash chains searched deeply, and a match put off as long as the next
 * position has a longer one. The output of a block needs room for LZ4_compressBound(length) bytes.
 */
#include "chains.h"

#define MIN_MATCH 4
#define LAST_LITERALS 5 /* a block ends with at least so many literals */
#define LAST_MATCH 12   /* and no match begins later than that */
#define MAX_DISTANCE 65535u
#define MAX_DEPTH 256
#define NICE 256 /* a match of this length is taken at once */

struct match {
  u32 length, distance;
};

static const u8 *base;
static u32 length_limit, inserted; /* end of matches; positions below are in the chains */

INLINE u32 hash4(const u8 *p) { return load32(p) * 2654435761u >> (32 - HASH_BITS); }

/* The longest match at `at` that is longer than `best`; length 0 if none. */
static struct match search(u32 at, u32 best) {
  struct match match = {0, 0};
  const u8 *here = base + at;
  u32 limit = length_limit - at;
  for (; inserted < at; inserted++) chains_insert(inserted, hash4(base + inserted));
  u32 step = chains_insert(at, hash4(here));
  inserted = at + 1;
  u32 distance = 0;
  for (u32 depth = MAX_DEPTH; step != 0 && depth > 0; depth--) {
    distance += step;
    if (distance > MAX_DISTANCE) break;
    const u8 *there = here - distance;
    step = chain[(at - distance) % CHAIN_WINDOW];
    if (load32(there + best - 3) != load32(here + best - 3) || load32(there) != load32(here)) continue;
    u32 length = MIN_MATCH + equal_bytes(there + MIN_MATCH, here + MIN_MATCH, limit - MIN_MATCH);
    if (length <= best) continue;
    best = length;
    match.length = length;
    match.distance = distance;
    if (length >= NICE) break;
  }
  return match;
}

static u8 *put_length(u8 *out, u32 length) {
  for (; length >= 255; length -= 255) *out++ = 255;
  *out++ = (u8)length;
  return out;
}

static u8 *put_literals(u8 *out, const u8 *from, u32 count, u32 match_token) {
  *out++ = (u8)((count < 15 ? count : 15) << 4 | match_token);
  if (count >= 15) out = put_length(out, count - 15);
  __builtin_memcpy(out, from, count);
  return out + count;
}

/* Returns the compressed length. */
EXPORT(lz4_encode) u32 lz4_encode(const u8 *in, u32 length, u8 *out) {
  u8 *const start = out;
  u32 anchor = 0, at = 0;
  base = in;
  inserted = 0;
  chains_reset();
  if (length > LAST_MATCH) {
    length_limit = length - LAST_LITERALS;
    const u32 last = length - LAST_MATCH;
    while (at <= last) {
      struct match match = search(at, MIN_MATCH - 1);
      if (match.length == 0) {
        at++;
        continue;
      }
      while (match.length < NICE && at < last) {
        struct match next = search(at + 1, match.length);
        if (next.length == 0) break;
        match = next;
        at++;
      }
      u32 rest = match.length - MIN_MATCH;
      out = put_literals(out, in + anchor, at - anchor, rest < 15 ? rest : 15);
      store16(out, (u16)match.distance);
      out += 2;
      if (rest >= 15) out = put_length(out, rest - 15);
      at += match.length;
      anchor = at;
    }
  }
  return (u32)(put_literals(out, in + anchor, length - anchor, 0) - start);
}
