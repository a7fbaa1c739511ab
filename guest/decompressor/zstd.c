/*
 * Zstandard frames (RFC 8878) without a dictionary. The whole output is the window. A frame's own checksum is not
 * looked at: our caller has one for every format.
 *
 * Bit streams are read backwards and may be read a little before their beginning, which is memory like any other; at
 * their end they must have been used up exactly.
 */
#include "bytes.h"
#include "decompressor.h"

#define FRAME_MAGIC 0xfd2fb528
#define SKIPPABLE_MAGIC 0x184d2a50
#define SKIPPABLE_MASK 0xfffffff0

#define BLOCK_MAX 0x20000
#define LITERALS_SLACK 64

#define HUFFMAN_BITS 11
#define WEIGHT_BITS 6
#define LENGTH_BITS 9
#define OFFSET_BITS 8
#define LITERAL_LENGTHS 36
#define MATCH_LENGTHS 53
#define OFFSETS 32

enum { RAW, RLE, COMPRESSED, REPEAT };

#ifdef __x86_64__
typedef uint64_t word_t;
#define load_word load64
#define count_trailing_zeros __builtin_ctzll
#else
typedef uint32_t word_t;
#define load_word load32
#define count_trailing_zeros __builtin_ctz
#endif
#define WORD_BITS (8 * (unsigned)sizeof(word_t))
#define WORD_SAFE (WORD_BITS - 7) /* bits that a word has when it was just loaded */

/* One state of a finite state entropy decoder. */
struct state {
	uint16_t next; /* base of the following state */
	uint8_t bits;  /* to add to it */
	uint8_t extra; /* bits to add to the value, or the symbol itself for Huffman weights */
	uint32_t base; /* of the value */
};

static struct {
	struct state literal_lengths[1 << LENGTH_BITS];
	struct state match_lengths[1 << LENGTH_BITS];
	struct state offsets[1 << OFFSET_BITS];
	struct state weights[1 << WEIGHT_BITS];
	uint16_t huffman[1 << HUFFMAN_BITS]; /* length of the code, and the symbol in the upper byte */
	uint8_t literals[BLOCK_MAX + LITERALS_SLACK];
} work __attribute__((section(".workspace,\"aw\",@nobits#")));

/* What a block hands on to the next of its frame. */
struct frame {
	const uint8_t *start; /* of the output */
	uint32_t repeated[3]; /* offsets */
	uint8_t literal_length_bits, match_length_bits, offset_bits;
	uint8_t have_huffman, have_tables;
	const uint8_t *literals, *literals_end;
};

static _Noreturn void corrupt(void)
{
	refuse("the zstd data is corrupt");
}

static unsigned highest_bit(uint32_t value)
{
	return 31 - (unsigned)__builtin_clz(value);
}

static uint32_t mask(unsigned bits)
{
	return (1u << bits) - 1;
}

/* ---- finite state entropy ---- */

/* Reads the normalised counts of up to *symbols symbols; returns what follows. */
static const uint8_t *read_counts(const uint8_t *in, const uint8_t *in_end, int16_t *counts, unsigned *symbols,
				  unsigned *table_bits, unsigned max_bits)
{
	unsigned at = 4, limit = *symbols, symbol = 0, bits;
	int remaining, threshold;

	if (in >= in_end)
		corrupt();
	*table_bits = (*in & 15) + 5;
	if (*table_bits > max_bits)
		corrupt();
	threshold = 1 << *table_bits;
	remaining = threshold + 1;
	bits = *table_bits + 1;

	while (remaining > 1) {
		uint32_t next = load32(in + at / 8) >> at % 8;
		int unused = 2 * threshold - 1 - remaining;
		int count = (int)(next & mask(bits - 1));

		if (symbol >= limit || in + at / 8 > in_end)
			corrupt();
		if (count < unused) {
			at += bits - 1;
		} else {
			count = (int)(next & mask(bits));
			if (count >= threshold)
				count -= unused;
			at += bits;
		}
		count--; /* -1 is a probability below one */
		remaining -= count < 0 ? 1 : count;
		counts[symbol++] = (int16_t)count;
		if (!count) {
			unsigned zeros;

			do {
				zeros = load32(in + at / 8) >> at % 8 & 3;
				at += 2;
				if (symbol + zeros > limit)
					corrupt();
				for (unsigned i = 0; i < zeros; i++)
					counts[symbol++] = 0;
			} while (zeros == 3);
		}
		while (remaining < threshold) {
			bits--;
			threshold >>= 1;
		}
	}
	in += (at + 7) / 8;
	if (remaining != 1 || in > in_end)
		corrupt();
	*symbols = symbol;
	return in;
}

static void make_states(struct state *table, unsigned table_bits, const int16_t *counts, unsigned symbols,
			const uint32_t *bases, const uint8_t *extras)
{
	unsigned size = 1u << table_bits, last = size - 1, step = (size >> 1) + (size >> 3) + 3, at = 0;
	uint16_t next[MATCH_LENGTHS];

	for (unsigned s = 0; s < symbols; s++) {
		next[s] = (uint16_t)counts[s];
		if (counts[s] < 0) {
			table[last--].extra = (uint8_t)s;
			next[s] = 1;
		}
	}
	for (unsigned s = 0; s < symbols; s++)
		for (int i = 0; i < counts[s]; i++) {
			table[at].extra = (uint8_t)s;
			do
				at = (at + step) & (size - 1);
			while (at > last);
		}
	for (unsigned i = 0; i < size; i++) {
		struct state *state = &table[i];
		unsigned symbol = state->extra, n = next[symbol]++;

		state->bits = (uint8_t)(table_bits - highest_bit(n));
		state->next = (uint16_t)((n << state->bits) - size);
		if (bases) {
			state->extra = extras[symbol];
			state->base = bases[symbol];
		}
	}
}

/* ---- literals ---- */

/* `bits` bits of the stream at `in` that end before bit *at, which moves down; beyond the beginning they are no use. */
static uint32_t read_back(const uint8_t *in, int *at, unsigned bits)
{
	*at -= (int)bits;
	return *at < 0 ? 0 : load32(in + *at / 8) >> *at % 8 & mask(bits);
}

/* Huffman weights as two interleaved FSE streams write them; returns how many. */
static unsigned read_compressed_weights(const uint8_t *in, const uint8_t *in_end, uint8_t *weights)
{
	int16_t counts[16];
	unsigned symbols = 13, table_bits, n = 0, states[2];
	int at;

	in = read_counts(in, in_end, counts, &symbols, &table_bits, WEIGHT_BITS);
	make_states(work.weights, table_bits, counts, symbols, 0, 0);
	if (in >= in_end || !in_end[-1])
		corrupt();
	at = (int)(in_end - in - 1) * 8 + (int)highest_bit(in_end[-1]);
	states[0] = read_back(in, &at, table_bits);
	states[1] = read_back(in, &at, table_bits);
	if (at < 0)
		corrupt();
	for (unsigned turn = 0;; turn ^= 1) {
		const struct state *state = &work.weights[states[turn]];

		if (n > 253)
			corrupt();
		weights[n++] = state->extra;
		states[turn] = state->next + read_back(in, &at, state->bits);
		if (at < 0) {
			weights[n++] = work.weights[states[turn ^ 1]].extra;
			return n;
		}
	}
}

/* Reads the description of a Huffman code and makes its table; returns what follows. */
static const uint8_t *read_huffman(const uint8_t *in, const uint8_t *in_end)
{
	uint8_t weights[256];
	unsigned n, ranks[HUFFMAN_BITS + 2] = {0}, next[HUFFMAN_BITS + 2];
	uint32_t total = 0, rest, at = 0;
	unsigned bits;

	if (in >= in_end)
		corrupt();
	n = *in++;
	if (n < 128) {
		const uint8_t *end = in + n;

		if (end > in_end)
			corrupt();
		n = read_compressed_weights(in, end, weights);
		in = end;
	} else {
		n -= 127;
		if ((n + 1) / 2 > (size_t)(in_end - in))
			corrupt();
		for (unsigned i = 0; i < n; i++)
			weights[i] = in[i / 2] >> (i % 2 ? 0 : 4) & 15;
		in += (n + 1) / 2;
	}

	for (unsigned i = 0; i < n; i++) {
		if (weights[i] > HUFFMAN_BITS)
			corrupt();
		total += weights[i] ? 1u << (weights[i] - 1) : 0;
		ranks[weights[i]]++;
	}
	/* The last symbol's weight makes the sum a power of two. */
	if (!total)
		corrupt();
	bits = highest_bit(total) + 1;
	rest = (1u << bits) - total;
	if (bits > HUFFMAN_BITS || (rest & (rest - 1)))
		corrupt();
	weights[n] = (uint8_t)(highest_bit(rest) + 1);
	ranks[weights[n++]]++;

	/* Every table has the size of the largest, so that its index needs no variable shift. */
	for (unsigned w = 1; w <= bits; w++) {
		next[w] = at;
		at += ranks[w] << (w - 1 + HUFFMAN_BITS - bits);
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned w = weights[i];
		uint16_t entry;

		if (!w)
			continue;
		entry = (uint16_t)((bits + 1 - w) | i << 8);
		for (unsigned end = next[w] + (1u << (w - 1 + HUFFMAN_BITS - bits)); next[w] < end; next[w]++)
			work.huffman[next[w]] = entry;
	}
	return in;
}

/*
 * One stream of Huffman codes. The next bit is the highest of `bits`, where a one follows the last: shifting out
 * codes moves it up, and its place says how many bits are gone.
 */
static void read_stream(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	const uint16_t *table = work.huffman;
	const uint8_t *p = in_end - sizeof(word_t);
	word_t bits;
	unsigned gone;

	if (in >= in_end || !in_end[-1])
		corrupt();
	bits = (load_word(p) | 1) << (8 - highest_bit(in_end[-1]));

#define SYMBOL(i)                                                                                                      \
	do {                                                                                                           \
		uint32_t entry = table[bits >> (WORD_BITS - HUFFMAN_BITS)];                                            \
                                                                                                                       \
		bits <<= entry & (WORD_BITS - 1);                                                                      \
		out[i] = (uint8_t)(entry >> 8);                                                                        \
	} while (0)
#define RELOAD()                                                                                                       \
	do {                                                                                                           \
		gone = (unsigned)count_trailing_zeros(bits);                                                           \
		p -= gone / 8;                                                                                         \
		bits = (load_word(p) | 1) << gone % 8;                                                                 \
	} while (0)
#define SYMBOLS_A_WORD (WORD_SAFE / HUFFMAN_BITS)

	while ((unsigned)(out_end - out) >= SYMBOLS_A_WORD) {
		SYMBOL(0);
		SYMBOL(1);
#ifdef __x86_64__
		SYMBOL(2);
		SYMBOL(3);
		SYMBOL(4);
#endif
		out += SYMBOLS_A_WORD;
		RELOAD();
	}
	for (; out < out_end; out++)
		SYMBOL(0);
	gone = (unsigned)count_trailing_zeros(bits);
	if ((p - in) * 8 + (int)(WORD_BITS - gone) != 0)
		corrupt();
}

static void read_streams(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint32_t size, int four)
{
	if (!four) {
		read_stream(in, in_end, out, out + size);
		return;
	}
	uint32_t part = (size + 3) / 4, sizes[3];
	const uint8_t *stream = in + 6;

	if (in_end - in < 6 || 3 * part > size)
		corrupt();
	for (unsigned i = 0; i < 3; i++)
		sizes[i] = load16(in + 2 * i);
	if (sizes[0] + sizes[1] + sizes[2] > (size_t)(in_end - stream))
		corrupt();
	for (unsigned i = 0; i < 3; i++) {
		read_stream(stream, stream + sizes[i], out, out + part);
		stream += sizes[i];
		out += part;
	}
	read_stream(stream, in_end, out, out + size - 3 * part);
}

/* The literals section; leaves the literals in frame->literals and returns what follows. */
static const uint8_t *read_literals(struct frame *frame, const uint8_t *in, const uint8_t *in_end)
{
	unsigned type, format, header;
	uint32_t size, compressed;
	uint64_t fields;
	const uint8_t *end;

	if (in_end - in < 2) /* at least one byte for the sequences follows */
		corrupt();
	type = *in & 3;
	format = *in >> 2 & 3;
	frame->literals = work.literals;

	if (type == RAW || type == RLE) {
		fields = load32(in);
		header = format == 1 ? 2 : format == 3 ? 3 : 1;
		size = header == 1 ? *in >> 3 : (uint32_t)fields >> 4 & (header == 2 ? 0xfff : 0xfffff);
		compressed = type == RAW ? size : 1;
	} else {
		/* Two sizes of 10, 10, 14 or 18 bits. */
		unsigned bits = format < 2 ? 10 : format == 2 ? 14 : 18;

		fields = load64(in);
		header = format < 2 ? 3 : format + 2;
		size = (uint32_t)(fields >> 4) & mask(bits);
		compressed = (uint32_t)(fields >> (4 + bits)) & mask(bits);
	}
	if (size > BLOCK_MAX || header + compressed > (size_t)(in_end - in))
		corrupt();
	in += header;
	end = in + compressed;
	switch (type) {
	case RAW:
		frame->literals = in; /* where they are */
		break;
	case RLE:
		for (uint32_t i = 0; i < size; i++)
			work.literals[i] = *in;
		break;
	case COMPRESSED:
		in = read_huffman(in, end);
		frame->have_huffman = 1;
		/* fall through */
	default:
		if (!frame->have_huffman)
			corrupt();
		read_streams(in, end, work.literals, size, format != 0);
	}
	frame->literals_end = frame->literals + size;
	return end;
}

/* ---- sequences ---- */

static const uint32_t literal_length_base[LITERAL_LENGTHS] = {
	0,  1,  2,  3,  4,  5,  6,  7,  8,   9,	  10,  11,   12,   13,	 14,   15,    16,    18,
	20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
static const uint8_t literal_length_extra[LITERAL_LENGTHS] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,	0,  0,	0,  0,	0,  1,	1,
							      1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint32_t match_length_base[MATCH_LENGTHS] = {
	3,  4,	5,  6,	7,  8,	9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,	 21,  22,  23,	 24,   25,   26,   27,	 28,	29,
	30, 31, 32, 33, 34, 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539};
static const uint8_t match_length_extra[MATCH_LENGTHS] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,
							  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1,  1,  1,
							  2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const int16_t literal_length_counts[LITERAL_LENGTHS] = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,  2,	1,  1,	1,  2, 2,
							       2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1};
static const int16_t match_length_counts[MATCH_LENGTHS] = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1,  1,	 1,
							   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,	 1,
							   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1};
static const int16_t offset_counts[29] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1,	 1,  1,	 1,  1, 1,
					  1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1};

struct code {
	struct state *table;
	unsigned max_bits, symbols;
	const uint32_t *bases;
	const uint8_t *extras;
	const int16_t *default_counts;
	unsigned default_symbols, default_bits;
};

static const uint8_t *read_code(const struct frame *frame, const struct code *code, unsigned mode, const uint8_t *in,
				const uint8_t *in_end, uint8_t *table_bits)
{
	int16_t counts[MATCH_LENGTHS];
	unsigned symbols = code->symbols, bits;

	switch (mode) {
	case RAW: /* here: predefined */
		make_states(code->table, code->default_bits, code->default_counts, code->default_symbols, code->bases,
			    code->extras);
		*table_bits = (uint8_t)code->default_bits;
		break;
	case RLE:
		if (in >= in_end || *in >= symbols)
			corrupt();
		code->table[0] = (struct state){.extra = code->extras[*in], .base = code->bases[*in]};
		*table_bits = 0;
		in++;
		break;
	case COMPRESSED:
		in = read_counts(in, in_end, counts, &symbols, &bits, code->max_bits);
		make_states(code->table, bits, counts, symbols, code->bases, code->extras);
		*table_bits = (uint8_t)bits;
		break;
	default:
		if (!frame->have_tables)
			corrupt();
	}
	return in;
}

static const uint8_t *read_codes(struct frame *frame, const uint8_t *in, const uint8_t *in_end)
{
	uint32_t offset_base[OFFSETS];
	uint8_t offset_extra[OFFSETS];
	unsigned modes;

	if (in >= in_end)
		corrupt();
	modes = *in++;
	for (unsigned i = 0; i < OFFSETS; i++) {
		offset_base[i] = 1u << i;
		offset_extra[i] = (uint8_t)i;
	}
	in = read_code(frame,
		       &(struct code){work.literal_lengths, LENGTH_BITS, LITERAL_LENGTHS, literal_length_base,
				      literal_length_extra, literal_length_counts, LITERAL_LENGTHS, 6},
		       modes >> 6, in, in_end, &frame->literal_length_bits);
	in = read_code(frame,
		       &(struct code){work.offsets, OFFSET_BITS, OFFSETS, offset_base, offset_extra, offset_counts, 29, 5},
		       modes >> 4 & 3, in, in_end, &frame->offset_bits);
	in = read_code(frame,
		       &(struct code){work.match_lengths, LENGTH_BITS, MATCH_LENGTHS, match_length_base,
				      match_length_extra, match_length_counts, MATCH_LENGTHS, 6},
		       modes >> 2 & 3, in, in_end, &frame->match_length_bits);
	frame->have_tables = 1;
	return in;
}

/* Bits taken from the top come in again at the bottom: rotating leaves the ones just taken to be masked. */
struct reader {
	const uint8_t *p;
	word_t bits;
	unsigned gone;
};

static inline word_t rotate(word_t value, unsigned n)
{
	return value << n | value >> (-n & (WORD_BITS - 1));
}

static inline void reload(struct reader *r)
{
	r->p -= r->gone / 8;
	r->gone %= 8;
	r->bits = rotate(load_word(r->p), r->gone);
}

static const uint32_t masks[WORD_BITS == 64 ? 32 : WORD_SAFE + 1] = {
	0x0,	 0x1,	  0x3,	   0x7,	    0xf,     0x1f,     0x3f,	 0x7f,	   0xff,
	0x1ff,	 0x3ff,	  0x7ff,   0xfff,   0x1fff,  0x3fff,   0x7fff,	 0xffff,   0x1ffff,
	0x3ffff, 0x7ffff, 0xfffff, 0x1fffff, 0x3fffff, 0x7fffff, 0xffffff, 0x1ffffff,
#ifdef __x86_64__
	0x3ffffff, 0x7ffffff, 0xfffffff, 0x1fffffff, 0x3fffffff, 0x7fffffff,
#endif
};

static inline uint32_t take(struct reader *r, unsigned n)
{
	r->bits = rotate(r->bits, n);
	r->gone += n;
	return (uint32_t)r->bits & masks[n];
}

static inline uint32_t take_offset(struct reader *r, unsigned n)
{
	if (WORD_BITS == 32 && n > 16) {
		uint32_t high = take(r, n - 16) << 16;

		reload(r);
		return high | take(r, 16);
	}
	return take(r, n);
}

/* A sequence: literals, then a match. Writes up to 63 bytes too many. */
static inline uint8_t *copy_sequence(struct frame *frame, uint8_t *out, const uint8_t *out_end, size_t literals, size_t length,
				     size_t distance)
{
	const uint8_t *from = frame->literals;

	if (unlikely(literals > (size_t)(frame->literals_end - from) || literals + length > (size_t)(out_end - out)))
		corrupt();
	copy16(out, from);
	if (unlikely(literals > 16))
		copy_wide(out + 16, from + 16, out + literals);
	frame->literals += literals;
	out += literals;
	if (unlikely(distance - 1 >= (size_t)(out - frame->start)))
		corrupt();
	if (likely(distance >= COPY_STEP)) {
		from = out - distance;
		copy_step(out, from);
		if (length > COPY_STEP)
			copy_wide(out + COPY_STEP, from + COPY_STEP, out + length);
	} else {
		copy_match(out, distance, out + length);
	}
	return out + length;
}

/* What the decoder of an offset gave means: a new offset, or one of the last three. */
static inline uint32_t resolve_offset(uint32_t *repeated, uint32_t value, uint32_t literals)
{
	uint32_t offset;

	if (likely(value > 3)) {
		offset = value - 3;
		repeated[2] = repeated[1];
	} else {
		value -= literals != 0; /* without literals the last one would have been taken before */
		if (value == 0)
			return repeated[0];
		offset = value == 3 ? repeated[0] - 1 : repeated[value];
		if (value != 1)
			repeated[2] = repeated[1];
	}
	repeated[1] = repeated[0];
	return repeated[0] = offset;
}

static uint8_t *run_sequences(struct frame *given, unsigned count, const uint8_t *in, const uint8_t *in_end, uint8_t *out,
			      const uint8_t *out_end)
{
	struct frame frame = *given;
	const struct state *ll, *ml, *of;
	struct reader r;

	if (in >= in_end || !in_end[-1])
		corrupt();
	r.p = in_end - sizeof(word_t);
	r.gone = 8 - highest_bit(in_end[-1]);
	r.bits = rotate(load_word(r.p), r.gone);
	ll = work.literal_lengths + take(&r, frame.literal_length_bits);
	of = work.offsets + take(&r, frame.offset_bits);
	if (WORD_BITS == 32)
		reload(&r);
	ml = work.match_lengths + take(&r, frame.match_length_bits);

	for (;;) {
		uint32_t offset, length = ml->base, literals = ll->base;

		reload(&r);
		if (unlikely(r.p + 2 * sizeof(word_t) < in))
			corrupt();
		offset = of->base + take_offset(&r, of->extra);
		if (unlikely(ml->extra)) {
			if (WORD_BITS == 32)
				reload(&r);
			length += take(&r, ml->extra);
		}
		if (unlikely(ll->extra)) {
			if (WORD_BITS == 32 || r.gone > WORD_BITS - 16)
				reload(&r);
			literals += take(&r, ll->extra);
		}
		offset = resolve_offset(frame.repeated, offset, literals);
		out = copy_sequence(&frame, out, out_end, literals, length, offset);
		if (!--count)
			break;
		if (r.gone > WORD_BITS - (WORD_BITS == 32 ? 2 * LENGTH_BITS : 2 * LENGTH_BITS + OFFSET_BITS))
			reload(&r);
		ll = work.literal_lengths + ll->next + take(&r, ll->bits);
		ml = work.match_lengths + ml->next + take(&r, ml->bits);
		if (WORD_BITS == 32)
			reload(&r);
		of = work.offsets + of->next + take(&r, of->bits);
	}
	if ((r.p - in) * 8 + (int)(WORD_BITS - r.gone) != 0)
		corrupt();
	*given = frame;
	return out;
}

static uint8_t *compressed_block(struct frame *frame, const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	unsigned count;
	size_t rest;

	in = read_literals(frame, in, in_end);
	if (in >= in_end)
		corrupt();
	count = *in++;
	if (count >= 128) {
		if (count < 255) {
			count = (count - 128) << 8 | *in++;
		} else {
			count = load16(in) + 0x7f00;
			in += 2;
		}
		if (in > in_end)
			corrupt();
	}
	if (count) {
		in = read_codes(frame, in, in_end);
		out = run_sequences(frame, count, in, in_end, out, out_end);
	}
	rest = frame->literals_end - frame->literals;
	if (rest > (size_t)(out_end - out))
		corrupt();
	copy_forwards(out, frame->literals, rest);
	return out + rest;
}

static uint8_t *read_blocks(struct frame *frame, const uint8_t **given, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	const uint8_t *in = *given;
	uint32_t header, size;

	do {
		if (in_end - in < 3)
			corrupt();
		header = load32(in);
		in += 3;
		size = header >> 3 & 0x1fffff;
		switch (header >> 1 & 3) {
		case RAW:
			if (size > (size_t)(in_end - in) || size > (size_t)(out_end - out))
				corrupt();
			copy_forwards(out, in, size);
			out += size;
			in += size;
			break;
		case RLE:
			if (in >= in_end || size > (size_t)(out_end - out))
				corrupt();
			*out = *in++;
			if (size > 1)
				copy_match(out + 1, 1, out + size);
			out += size;
			break;
		case COMPRESSED:
			if (size > (size_t)(in_end - in))
				corrupt();
			out = compressed_block(frame, in, in + size, out, out_end);
			in += size;
			break;
		default:
			corrupt();
		}
	} while (!(header & 1));
	*given = in;
	return out;
}

#define SINGLE_SEGMENT 0x20
#define CONTENT_CHECKSUM 0x04
#define RESERVED 0x08

static const uint8_t *after_frame_header(const uint8_t *in, const uint8_t *in_end, unsigned descriptor)
{
	static const uint8_t id_sizes[4] = {0, 1, 2, 4}, content_sizes[4] = {0, 2, 4, 8};
	unsigned content = content_sizes[descriptor >> 6], id = id_sizes[descriptor & 3];

	if (descriptor & RESERVED)
		corrupt();
	if (!(descriptor & SINGLE_SEGMENT))
		in++; /* the window is as large as the output anyway */
	else if (!content)
		content = 1;
	while (id--)
		if (*in++)
			refuse("the zstd data needs a dictionary");
	if (in > in_end || content > (size_t)(in_end - in))
		corrupt();
	return in + content;
}

uint8_t *decode(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	while (in < in_end) {
		struct frame frame = {.start = out, .repeated = {1, 4, 8}};
		uint32_t magic;
		unsigned descriptor;

		if (in_end - in < 8)
			corrupt();
		magic = load32(in);
		if ((magic & SKIPPABLE_MASK) == SKIPPABLE_MAGIC) {
			if (load32(in + 4) > (size_t)(in_end - in - 8))
				corrupt();
			in += 8 + load32(in + 4);
			continue;
		}
		if (magic != FRAME_MAGIC)
			corrupt();
		descriptor = in[4];
		in = after_frame_header(in + 5, in_end, descriptor);
		out = read_blocks(&frame, &in, in_end, out, out_end);
		if (descriptor & CONTENT_CHECKSUM)
			in += 4;
	}
	return out;
}
