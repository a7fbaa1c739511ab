/*
 * LZO1X decompression (the stream as Documentation/staging/lzo.rst of the kernel describes it, version 0) and the checksums of lzop.
 */
#include "adler32.h"
#include "codec.h"
#include "crc32.h"

static const u8 *in_at;
static u8 *out_at;

EXPORT(output) u8 *output(void) { return out_at; }
EXPORT(input) const u8 *input(void) { return in_at; }

/* A length of zero is continued: every zero byte adds 255, the byte after them adds itself. */
#define EXTEND(length, mask) \
  do { \
    while (in < in_end && *in == 0) { \
      length += 255; \
      in++; \
    } \
    if (unlikely(in >= in_end)) goto truncated; \
    length += (mask) + *in++; \
  } while (0)

#define LITERALS(count) \
  do { \
    u32 count_ = (count); \
    if (unlikely(count_ > (u32)(in_end - in))) goto truncated; \
    if (unlikely(count_ > (u32)(end - out))) goto overflow; \
    wide_copy(out, in, count_); \
    in += count_; \
    out += count_; \
  } while (0)

EXPORT(lzo1x_block) int lzo1x_block(const u8 *in, const u8 *in_end, u8 *out, u8 *end) {
  u8 *const base = out;
  u32 literals = 0; /* literals since the last match: 0, 1 to 3, or 4 for "4 or more" */
  int status;

  if (in >= in_end) goto truncated;
  if (*in > 17) { /* only the first byte of a stream may mean this */
    u32 count = *in++ - 17u;
    LITERALS(count);
    literals = count < 4 ? count : 4;
  }
  for (;;) {
    if (unlikely(in >= in_end)) goto truncated;
    u32 code = *in++, length, distance, tail;
    if (code >= 64) {
      if (unlikely(in >= in_end)) goto truncated;
      length = (code >> 5) + 1;
      distance = ((u32)*in++ << 3) + (code >> 2 & 7) + 1;
      tail = code & 3;
    } else if (code >= 32) {
      length = code & 31;
      if (length == 0) EXTEND(length, 31);
      length += 2;
      if (unlikely(in_end - in < 2)) goto truncated;
      tail = load16(in);
      in += 2;
      distance = (tail >> 2) + 1;
      tail &= 3;
    } else if (code >= 16) {
      length = code & 7;
      if (length == 0) EXTEND(length, 7);
      length += 2;
      if (unlikely(in_end - in < 2)) goto truncated;
      tail = load16(in);
      in += 2;
      distance = ((code & 8) << 11) + (tail >> 2);
      if (distance == 0) { /* the end of the stream */
        status = length == 3 ? DONE : CORRUPT;
        goto leave;
      }
      distance += 0x4000;
      tail &= 3;
    } else if (literals == 0) {
      u32 count = code;
      if (count == 0) EXTEND(count, 15);
      LITERALS(count + 3);
      literals = 4;
      continue;
    } else {
      if (unlikely(in >= in_end)) goto truncated;
      tail = code & 3;
      distance = ((u32)*in++ << 2) + (code >> 2) + 1;
      length = 2;
      if (literals == 4) {
        length = 3;
        distance += 0x800;
      }
    }
    if (unlikely(distance > (u32)(out - base))) goto corrupt;
    if (unlikely(length > (u32)(end - out))) goto overflow;
    match_copy(out, distance, length);
    out += length;
    literals = tail;
    if (tail > 0) {
      if (unlikely(tail > (u32)(in_end - in))) goto truncated;
      if (unlikely(tail > (u32)(end - out))) goto overflow;
      store32(out, load32(in));
      in += tail;
      out += tail;
    }
  }
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
