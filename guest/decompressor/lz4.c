/*
 * LZ4 legacy frames, as `lz4 -l` writes them: a magic number, then blocks of up to 8 MiB behind a length word each
 * (lz4_Frame_format.md, "Legacy frame"; lz4_Block_format.md).
 */
#include "bytes.h"
#include "decompressor.h"

#define LEGACY_MAGIC 0x184c2102
#define MIN_MATCH 4
#define LONG 15	       /* a length that goes on in further bytes */
#define FAST_MARGIN 80 /* more than a short sequence takes or makes, or copying literals reads */

static _Noreturn void corrupt(void)
{
	refuse("the LZ4 data is corrupt");
}

/* The length that `n` = 15 begins; stops at the end of input, where the caller's bounds check fails. */
static inline size_t long_length(size_t n, const uint8_t **in, const uint8_t *in_end)
{
	uint8_t more;

	do {
		if (unlikely(*in >= in_end))
			corrupt();
		more = *(*in)++;
		n += more;
	} while (more == 255);
	return n;
}

/* n + more bytes, n < 16: as many as that can be or, where a step copies less, as many as it takes. */
static inline void copy_short(uint8_t *to, const uint8_t *from, size_t n, size_t more)
{
#ifdef __SSE2__
	(void)n;
	copy16(to, from);
	if (more)
		*(le32 *)(to + 16) = load32(from + 16);
#else
	copy8(to, from);
	if (n + more > 8) {
		copy8(to + 8, from + 8);
		if (more)
			*(le32 *)(to + 16) = load32(from + 16);
	}
#endif
}

/* One block to `out`; matches reach back to `start`. */
static uint8_t *decode_block(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	const uint8_t *start = out, *from;
	const uint8_t *in_fast = in_end - FAST_MARGIN;
	const uint8_t *out_fast = out_end - FAST_MARGIN;
	size_t token, literals, length, distance;

	for (;;) {
		/* Most sequences are short and far from the ends: nothing to check but their distance. */
		while (likely(in < in_fast && out < out_fast)) {
			token = *in++;
			literals = token >> 4;
			length = token & 15;
			if (unlikely(literals == LONG))
				goto literals;
			copy_short(out, in, literals, 0);
			in += literals;
			out += literals;
			distance = load16(in);
			in += 2;
			if (unlikely(length == LONG))
				goto match;
			from = out - distance;
			if (unlikely(from < start))
				corrupt();
			if (likely(distance >= COPY_STEP)) {
				copy_short(out, from, length, MIN_MATCH);
			} else {
				if (distance < 8)
					goto match;
				copy8(out, from);
				copy8(out + 8, from + 8);
				*(le32 *)(out + 16) = load32(from + 16);
			}
			out += length + MIN_MATCH;
		}

		if (unlikely(in >= in_end))
			corrupt();
		token = *in++;
		literals = token >> 4;
		length = token & 15;
		if (literals == LONG)
literals:
			literals = long_length(literals, &in, in_end);
		if (literals > (size_t)(in_end - in) || literals > (size_t)(out_end - out))
			corrupt();
		if (literals + FAST_MARGIN <= (size_t)(in_end - in))
			copy_wide(out, in, out + literals);
		else
			copy_forwards(out, in, literals);
		in += literals;
		out += literals;
		if (in == in_end)
			return out;
		if (unlikely(in_end - in < 2))
			corrupt();
		distance = load16(in);
		in += 2;
match:
		if (length == LONG)
			length = long_length(length, &in, in_end);
		length += MIN_MATCH;
		if (distance - 1 >= (size_t)(out - start) || length > (size_t)(out_end - out))
			corrupt();
		copy_match(out, distance, out + length);
		out += length;
	}
}

uint8_t *decode(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	if (in_end - in < 4 || load32(in) != LEGACY_MAGIC)
		corrupt();
	while (in < in_end) {
		uint32_t size;

		if (in_end - in < 4)
			corrupt();
		size = load32(in);
		in += 4;
		if (size == LEGACY_MAGIC) /* of another frame */
			continue;
		if (size > (size_t)(in_end - in))
			corrupt();
		out = decode_block(in, in + size, out, out_end);
		in += size;
	}
	return out;
}
