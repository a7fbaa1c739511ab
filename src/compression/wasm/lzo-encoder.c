/*
 * LZO1X compression of one block of lzop: the cheapest way through the block, by dynamic programming over its
 * positions. A position's price is the number of bytes that lead up to it.
 */
#include "adler32.h"
#include "chains.h"

#define MAX_BLOCK (256u << 10)
#define MAX_DEPTH 96
#define NICE 128 /* a match of this length is taken at once */

/* The kinds of matches that are used: all take the same bytes for every distance up to the limit. */
#define NEAR 0x800u
#define MIDDLE 0x4000u
#define FAR 0xbfffu

#define MIN_MATCH 3
#define NEAR_MAX 8
#define MIDDLE_MAX 33 /* longer ones take further bytes */
#define FAR_MAX 9

/* The cheapest way to a position found so far, and its last step: a match, or a literal (length 1). */
struct step {
  u32 price, length;
  u16 distance;
  u16 run; /* literals in front of the position, as far as they matter */
};

static struct step steps[MAX_BLOCK + 1];

INLINE u32 hash3(const u8 *p) { return (load32(p) << 8) * 2654435761u >> (32 - HASH_BITS); }

INLINE void offer(u32 to, u32 price, u32 length, u32 distance) {
  struct step *step = &steps[to];
  if (price >= step->price) return;
  step->price = price;
  step->length = length;
  step->distance = (u16)distance;
  step->run = 0;
}

/* Bytes that continue a length which is `more` above what the code itself can say. */
INLINE u32 extra_bytes(u32 more) { return 1 + (more - 1) / 255; }

/* Offers the lengths from `from` to `length` at `distance`. */
static void offer_match(u32 at, u32 price, u32 from, u32 length, u32 distance) {
  if (distance <= NEAR) {
    u32 top = length < NEAR_MAX ? length : NEAR_MAX;
    for (u32 n = from; n <= top; n++) offer(at + n, price + 2, n, distance);
  }
  u32 simple = distance <= MIDDLE ? MIDDLE_MAX : FAR_MAX, top = length < simple ? length : simple;
  for (u32 n = from; n <= top; n++) offer(at + n, price + 3, n, distance);
  if (length > simple) offer(at + length, price + 3 + extra_bytes(length - simple), length, distance);
}

static void find_steps(const u8 *in, u32 length) {
  for (u32 i = 0; i <= length; i++) steps[i].price = 0xffffffffu;
  steps[0].price = 0;
  steps[0].run = 0;
  u32 skip_to = 0;
  for (u32 at = 0; at < length; at++) {
    u32 limit = length - at;
    u32 step = limit >= 4 ? chains_insert(at, hash3(in + at)) : 0;
    if (at < skip_to) continue;
    u32 price = steps[at].price, run = steps[at].run;
    /* Up to 3 literals need no header, up to 18 a byte, then one more every 255. */
    u32 literal = price + 1 + (run == 3 || run == 18);
    if (literal < steps[at + 1].price) {
      steps[at + 1].price = literal;
      steps[at + 1].length = 1;
      steps[at + 1].run = (u16)(run == 18 + 255 ? 19 : run + 1);
    }
    u32 distance = 0, best = MIN_MATCH - 1;
    const u8 *here = in + at;
    for (u32 depth = MAX_DEPTH; step != 0 && depth > 0; depth--) {
      distance += step;
      if (distance > FAR) break;
      const u8 *there = here - distance;
      step = chain[(at - distance) % CHAIN_WINDOW];
      if (there[best] != here[best] || ((load32(there) ^ load32(here)) & 0xffffff) != 0) continue;
      u32 found = equal_bytes(there, here, limit);
      if (found <= best) continue;
      offer_match(at, price, best + 1, found, distance);
      best = found;
      if (found >= NICE || found == limit) break;
    }
    if (best >= NICE) skip_to = at + best;
  }
}

static u8 *put_length(u8 *out, u32 more) {
  for (; more > 255; more -= 255) *out++ = 0;
  *out++ = (u8)more;
  return out;
}

static u8 *put_literals(u8 *out, const u8 *from, u32 count, int first) {
  if (first && count <= 238) {
    *out++ = (u8)(17 + count);
  } else if (count <= 3) {
    out[-2] |= (u8)count;
  } else if (count <= 18) {
    *out++ = (u8)(count - 3);
  } else {
    *out++ = 0;
    out = put_length(out, count - 18);
  }
  __builtin_memcpy(out, from, count);
  return out + count;
}

static u8 *put_match(u8 *out, u32 length, u32 distance) {
  if (length <= NEAR_MAX && distance <= NEAR) {
    distance--;
    *out++ = (u8)((length - 1) << 5 | (distance & 7) << 2);
    *out++ = (u8)(distance >> 3);
    return out;
  }
  u32 code, simple;
  if (distance <= MIDDLE) {
    distance--;
    code = 32;
    simple = MIDDLE_MAX;
  } else {
    distance -= MIDDLE;
    code = 16 | distance >> 14 << 3;
    simple = FAR_MAX;
  }
  if (length <= simple) {
    *out++ = (u8)(code | (length - 2));
  } else {
    *out++ = (u8)code;
    out = put_length(out, length - simple);
  }
  store16(out, (u16)(distance << 2));
  return out + 2;
}

/* Compresses up to 256 KiB; returns the compressed length, which may be more than `length` by a 16th and 67 bytes. */
EXPORT(lzo1x_encode) u32 lzo1x_encode(const u8 *in, u32 length, u8 *out) {
  u8 *const start = out;
  chains_reset();
  find_steps(in, length);
  /* Turn the way round: each step's length moves to where it begins. */
  for (u32 at = length, next = 0; at > 0;) {
    u32 step = steps[at].length, distance = steps[at].distance;
    steps[at].length = next;
    next = step;
    at -= step;
    steps[at].run = step == 1 ? 0 : (u16)distance;
    if (at == 0) steps[0].length = next;
  }
  u32 literals = 0, at = 0;
  while (at < length) {
    u32 step = steps[at].length;
    if (step == 1) {
      literals++;
    } else {
      if (literals > 0) out = put_literals(out, in + at - literals, literals, out == start);
      out = put_match(out, step, steps[at].run);
      literals = 0;
    }
    at += step;
  }
  if (literals > 0) out = put_literals(out, in + at - literals, literals, out == start);
  *out++ = 17; /* the end: a far match of length 3 and no distance */
  *out++ = 0;
  *out++ = 0;
  return (u32)(out - start);
}
