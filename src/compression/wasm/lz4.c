/*
 * The LZ4 block format ("LZ4 Block Format Description", lz4_Block_format.md): one block to exactly `end`, or less.
 */
#include "codec.h"

#define MIN_MATCH 4

static const u8 *in_at;
static u8 *out_at;

EXPORT(output) u8 *output(void) { return out_at; }
EXPORT(input) const u8 *input(void) { return in_at; }

/* Adds bytes of 255 and the one that ends them to `length`. */
#define EXTEND(length) \
  do { \
    u32 byte; \
    do { \
      if (unlikely(in >= in_end)) goto truncated; \
      byte = *in++; \
      length += byte; \
    } while (byte == 255); \
  } while (0)

/* Lengths cannot wrap: a block is smaller than 16 MiB, 255 times that is below 2^32. */
EXPORT(lz4_block) int lz4_block(const u8 *in, const u8 *in_end, u8 *out, u8 *end) {
  u8 *const base = out;
  int status;
  for (;;) {
    if (unlikely(in >= in_end)) goto truncated;
    u32 token = *in++, length = token >> 4;
    if (length == 15) EXTEND(length);
    if (unlikely(length > (u32)(in_end - in))) goto truncated;
    if (unlikely(length > (u32)(end - out))) goto overflow;
    if (length > 0) wide_copy(out, in, length);
    in += length;
    out += length;
    if (in == in_end) break; /* the last sequence has no match */
    if (unlikely(in_end - in < 2)) goto truncated;
    u32 distance = load16(in);
    in += 2;
    length = token & 15;
    if (length == 15) EXTEND(length);
    length += MIN_MATCH;
    if (unlikely(distance - 1 >= (u32)(out - base))) goto corrupt;
    if (unlikely(length > (u32)(end - out))) goto overflow;
    match_copy(out, distance, length);
    out += length;
  }
  status = DONE;
  goto leave;
truncated:
  status = TRUNCATED;
  goto leave;
overflow:
  status = OVERFLOW;
  goto leave;
corrupt:
  status = CORRUPT;
leave:
  in_at = in;
  out_at = out;
  return status;
}
