/*
 * Inflate (RFC 1951) in a gzip member (RFC 1952). Whether the right bytes came out is for our caller to check.
 *
 * Codes are decoded by tables that the next bits index; codes longer than a table's index go on in a subtable. The
 * input may be read a few bytes beyond its end and the output written OVERRUN bytes beyond its end, so the main loop
 * looks at the ends only once a turn.
 */
#include "bytes.h"
#include "decompressor.h"

#define MAX_CODE_LENGTH 15
#define LITLEN_SYMBOLS 288
#define DISTANCE_SYMBOLS 32
#define LENGTH_SYMBOLS 19 /* of the code that code lengths are written in */

#define LITLEN_BITS 11
#define DISTANCE_BITS 9
#define LENGTH_BITS 7
/* Index table and the largest total of subtables that a complete code can need (zlib's "enough" computes it). */
#define LITLEN_SIZE 2342
#define DISTANCE_SIZE 594
#define LENGTH_SIZE (1 << LENGTH_BITS)

/*
 * Entries: bits 0-7 the length of the code, bits 8-15 how many extra bits follow it, bits 16-30 the literal, base
 * value or, for a subtable, its place, with bits 8-15 saying how many bits index it.
 */
#define LITERAL 0x80000000u
#define SPECIAL 0x8000 /* a subtable, the end of the block or an unused code */
#define SUBTABLE 0x4000
#define END_OF_BLOCK 0x2000
#define BASE(base, extra) ((uint32_t)(base) << 16 | (extra) << 8)

static struct {
	uint32_t litlen[LITLEN_SIZE];
	uint32_t distance[DISTANCE_SIZE];
	uint32_t lengths[LENGTH_SIZE];
	uint8_t code_lengths[LITLEN_SYMBOLS + DISTANCE_SYMBOLS];
	uint16_t sorted[LITLEN_SYMBOLS];
} work __attribute__((section(".workspace,\"aw\",@nobits#")));

static _Noreturn void corrupt(void)
{
	refuse("the gzip data is corrupt");
}

/*
 * The next bits of the input, lowest first.
 *
 * 64-bit: only the low byte of `count` says how many, so that a table entry can be subtracted as it is; what stands
 * in `bits` above them is zero or already right, so that refilling is adding a whole word.
 * 32-bit: `count` is exact, and two bytes are added when they fit.
 */
#ifdef __x86_64__
typedef uint64_t bits_t;
#define WORD_BITS 64
#else
typedef uint32_t bits_t;
#define WORD_BITS 32
#endif
#define READ_AHEAD 8 /* bytes that may be in `bits` already, or more */

struct reader {
	const uint8_t *in;
	const uint8_t *limit;
	bits_t bits;
	uint32_t count;
};

#ifdef __x86_64__
/* Now there are at least 56 bits. */
static inline void refill(struct reader *r)
{
	r->bits |= load64(r->in) << (r->count & 63);
	r->in += 7 - (r->count >> 3 & 7);
	r->count |= 56;
}

/* n <= 56; whoever calls this in a loop that is not bounded otherwise looks at r->limit. */
static inline void need(struct reader *r, unsigned n)
{
	if ((uint8_t)r->count < n)
		refill(r);
}

/* `n` counts by its low byte only, as a table entry. */
static inline void consume(struct reader *r, uint32_t n)
{
	r->bits >>= n & 63;
	r->count -= n;
}
#else
/* n <= 17 */
static inline void need(struct reader *r, unsigned n)
{
	if (r->count < n) {
		if (unlikely(r->in > r->limit + READ_AHEAD))
			corrupt();
		r->bits |= load16(r->in) << r->count;
		r->in += 2;
		r->count += 16;
	}
}

static inline void consume(struct reader *r, uint32_t n)
{
	r->bits >>= n & 31;
	r->count -= (uint8_t)n;
}
#endif

static inline uint32_t peek(const struct reader *r, unsigned n)
{
	return (uint32_t)r->bits & ((1u << n) - 1);
}

static inline uint32_t take(struct reader *r, unsigned n)
{
	uint32_t value = peek(r, n);

	consume(r, n);
	return value;
}

static inline unsigned extra_bits(uint32_t entry)
{
	return entry >> 8 & 15;
}

static uint32_t reversed(uint32_t code, unsigned length)
{
	uint32_t result = 0;

	for (; length; length--, code >>= 1)
		result = result << 1 | (code & 1);
	return result;
}

/*
 * Makes the table of a canonical code from the lengths of its symbols' codes. `entries` gives what to store for a
 * symbol, without the length; without it that is the symbol itself.
 */
static void make_table(uint32_t *table, unsigned table_size, unsigned index_bits, const uint8_t *lengths,
		       unsigned symbols, uint32_t (*entry_of)(unsigned symbol))
{
	uint16_t count[MAX_CODE_LENGTH + 1] = {0}, next[MAX_CODE_LENGTH + 2];
	unsigned longest = 0, used = 0, free = 1u << index_bits;
	int left = 1;
	uint32_t code = 0;
	uint32_t prefix = ~0u;
	unsigned sub = 0, sub_bits = 0;

	for (unsigned i = 0; i < symbols; i++)
		count[lengths[i]]++;
	count[0] = 0;
	next[1] = 0;
	for (unsigned length = 1; length <= MAX_CODE_LENGTH; length++) {
		left = left * 2 - count[length];
		if (left < 0)
			corrupt();
		next[length + 1] = next[length] + count[length];
		used += count[length];
		if (count[length])
			longest = length;
	}
	/* Only a code of at most one symbol may leave bit patterns unused. */
	if (left && (used > 1 || longest > 1))
		corrupt();
	for (unsigned i = 0; i < 1u << index_bits; i++)
		table[i] = SPECIAL;
	for (unsigned i = 0; i < symbols; i++)
		if (lengths[i])
			work.sorted[next[lengths[i]]++] = (uint16_t)i;

	unsigned length = 0;
	for (unsigned i = 0; i < used; i++) {
		unsigned symbol = work.sorted[i];

		for (; length < lengths[symbol]; length++)
			code <<= 1;

		uint32_t bits = reversed(code, length), entry = entry_of(symbol);
		if (length <= index_bits) {
			for (; bits < 1u << index_bits; bits += 1u << length)
				table[bits] = entry | length;
		} else {
			if ((bits & ((1u << index_bits) - 1)) != prefix) {
				/* As many bits as it takes for the codes left to fill it. */
				prefix = bits & ((1u << index_bits) - 1);
				sub = free;
				sub_bits = length - index_bits;
				for (int room = 1 << sub_bits; index_bits + sub_bits < longest; room *= 2, sub_bits++)
					if ((room -= count[index_bits + sub_bits]) <= 0)
						break;
				free += 1u << sub_bits;
				if (free > table_size)
					corrupt();
				table[prefix] = BASE(sub, sub_bits) | SPECIAL | SUBTABLE;
			}
			for (bits >>= index_bits; bits < 1u << sub_bits; bits += 1u << (length - index_bits))
				table[sub + bits] = entry | (length - index_bits);
		}
		count[length]--;
		code++;
	}
}

static uint32_t length_entry(unsigned symbol)
{
	return BASE(symbol, 0);
}

static uint32_t litlen_entry(unsigned symbol)
{
	unsigned n = symbol - 257, extra = n < 8 || n == 28 ? 0 : n / 4 - 1;

	if (symbol < 256)
		return LITERAL | BASE(symbol, 0);
	if (symbol == 256)
		return SPECIAL | END_OF_BLOCK;
	if (n > 28)
		return SPECIAL;
	if (n == 28)
		return BASE(258, 0);
	return BASE(n < 8 ? n + 3 : ((4 + n % 4) << extra) + 3, extra);
}

static uint32_t distance_entry(unsigned symbol)
{
	unsigned extra = symbol < 4 ? 0 : symbol / 2 - 1;

	if (symbol > 29)
		return SPECIAL;
	return BASE(symbol < 4 ? symbol + 1 : ((2 + symbol % 2) << extra) + 1, extra);
}

static void make_codes(const uint8_t *lengths, unsigned litlens, unsigned distances)
{
	make_table(work.litlen, LITLEN_SIZE, LITLEN_BITS, lengths, litlens, litlen_entry);
	make_table(work.distance, DISTANCE_SIZE, DISTANCE_BITS, lengths + litlens, distances, distance_entry);
}

static void fixed_codes(void)
{
	uint8_t *lengths = work.code_lengths;

	for (unsigned i = 0; i < LITLEN_SYMBOLS; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	for (unsigned i = 0; i < DISTANCE_SYMBOLS; i++)
		lengths[LITLEN_SYMBOLS + i] = 5;
	make_codes(lengths, LITLEN_SYMBOLS, DISTANCE_SYMBOLS);
}

static void dynamic_codes(struct reader *r)
{
	static const uint8_t order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
	uint8_t *lengths = work.code_lengths, own[LENGTH_SYMBOLS] = {0};
	unsigned litlens, distances, n;

	need(r, 14);
	litlens = take(r, 5) + 257;
	distances = take(r, 5) + 1;
	n = take(r, 4) + 4;
	if (litlens > LITLEN_SYMBOLS - 2)
		corrupt();
	for (unsigned i = 0; i < n; i++) {
		need(r, 3);
		own[order[i]] = (uint8_t)take(r, 3);
	}
	make_table(work.lengths, LENGTH_SIZE, LENGTH_BITS, own, LENGTH_SYMBOLS, length_entry);

	for (unsigned i = 0; i < litlens + distances;) {
		need(r, LENGTH_BITS + 7);
		uint32_t entry = work.lengths[peek(r, LENGTH_BITS)], symbol = entry >> 16;
		uint8_t value = 0;
		unsigned repeat = 1;

		if (entry & SPECIAL)
			corrupt();
		consume(r, entry);
		if (symbol < 16) {
			value = (uint8_t)symbol;
		} else if (symbol == 16) {
			if (!i)
				corrupt();
			value = lengths[i - 1];
			repeat = 3 + take(r, 2);
		} else if (symbol == 17) {
			repeat = 3 + take(r, 3);
		} else {
			repeat = 11 + take(r, 7);
		}
		if (repeat > litlens + distances - i)
			corrupt();
		while (repeat--)
			lengths[i++] = value;
	}
	make_codes(lengths, litlens, distances);
}

/* Back to whole bytes: gives back those that were read ahead. */
static void align(struct reader *r)
{
	r->in -= (uint8_t)r->count >> 3;
	r->bits = 0;
	r->count = 0;
	if (r->in > r->limit)
		corrupt();
}

static uint8_t *stored_block(struct reader *r, uint8_t *out, uint8_t *out_end)
{
	uint16_t length, complement;

	align(r);
	length = load16(r->in);
	complement = load16(r->in + 2);
	r->in += 4;
	if (r->in > r->limit || (length ^ complement) != 0xffff || length > r->limit - r->in || length > out_end - out)
		corrupt();
	copy_forwards(out, r->in, length);
	r->in += length;
	return out + length;
}

/* A code longer than a table's index bits, by the subtable that its beginning led to. */
static inline uint32_t long_code(struct reader *r, const uint32_t *table, uint32_t entry, unsigned index_bits)
{
	if (!(entry & SUBTABLE))
		return entry;
	consume(r, index_bits);
	return table[(entry >> 16) + peek(r, extra_bits(entry))];
}

/* A block's literals and matches; matches reach back to `start`. */
static uint8_t *coded_block(struct reader *given, const uint8_t *start, uint8_t *out, const uint8_t *out_end)
{
	struct reader r = *given;
	const uint32_t *litlens = work.litlen, *distances = work.distance;
	uint32_t entry, length, distance;

	for (;;) {
		if (unlikely(out > out_end))
			corrupt();
#ifdef __x86_64__
		if (unlikely(r.in > r.limit + READ_AHEAD))
			corrupt();
		refill(&r);
		/* Enough bits for two literals of an index each, and a length. */
		entry = litlens[peek(&r, LITLEN_BITS)];
		if (entry & LITERAL) {
			consume(&r, entry);
			*out++ = (uint8_t)(entry >> 16);
			entry = litlens[peek(&r, LITLEN_BITS)];
			if (entry & LITERAL) {
				consume(&r, entry);
				*out++ = (uint8_t)(entry >> 16);
				entry = litlens[peek(&r, LITLEN_BITS)];
			}
		}
#else
		need(&r, MAX_CODE_LENGTH);
		entry = litlens[peek(&r, LITLEN_BITS)];
		if (entry & LITERAL) {
			consume(&r, entry);
			*out++ = (uint8_t)(entry >> 16);
			need(&r, MAX_CODE_LENGTH);
			entry = litlens[peek(&r, LITLEN_BITS)];
		}
#endif
		if (unlikely(entry & SPECIAL)) {
			entry = long_code(&r, litlens, entry, LITLEN_BITS);
			if (unlikely(entry & SPECIAL)) {
				if (!(entry & END_OF_BLOCK))
					corrupt();
				consume(&r, entry);
				*given = r;
				return out;
			}
		}
		consume(&r, entry);
		length = entry >> 16;
		if (entry & LITERAL) {
			*out++ = (uint8_t)length;
			continue;
		}
		if (extra_bits(entry)) {
			if (WORD_BITS == 32)
				need(&r, 5);
			length += take(&r, extra_bits(entry));
		}
		need(&r, WORD_BITS == 32 ? MAX_CODE_LENGTH : MAX_CODE_LENGTH + 13);
		entry = distances[peek(&r, DISTANCE_BITS)];
		if (unlikely(entry & SPECIAL)) {
			entry = long_code(&r, distances, entry, DISTANCE_BITS);
			if (unlikely(entry & SPECIAL))
				corrupt();
		}
		consume(&r, entry);
		if (WORD_BITS == 32)
			need(&r, 13);
		distance = (entry >> 16) + take(&r, extra_bits(entry));
		if (unlikely(distance > (size_t)(out - start) || (intptr_t)length > out_end - out))
			corrupt();
		if (likely(distance >= COPY_STEP)) {
			const uint8_t *from = out - distance;

			copy_step(out, from);
			if (length > COPY_STEP)
				copy_wide(out + COPY_STEP, from + COPY_STEP, out + length);
		} else {
			copy_match(out, distance, out + length);
		}
		out += length;
	}
}

static uint8_t *inflate(struct reader *r, uint8_t *start, uint8_t *out_end)
{
	uint8_t *out = start;
	unsigned last;

	do {
		if (r->in > r->limit + READ_AHEAD)
			corrupt();
		need(r, 3);
		last = take(r, 1);
		switch (take(r, 2)) {
		case 0:
			out = stored_block(r, out, out_end);
			continue;
		case 1:
			fixed_codes();
			break;
		case 2:
			dynamic_codes(r);
			break;
		default:
			corrupt();
		}
		out = coded_block(r, start, out, out_end);
	} while (!last);
	align(r);
	return out;
}

#define MAGIC_DEFLATE 0x00088b1f
#define FHCRC 0x02
#define FEXTRA 0x04
#define FNAME 0x08
#define FCOMMENT 0x10
#define HEADER_SIZE 10
#define TRAILER_SIZE 8

static const uint8_t *after_string(const uint8_t *in, const uint8_t *end)
{
	while (in < end)
		if (!*in++)
			return in;
	corrupt();
}

static const uint8_t *after_header(const uint8_t *in, const uint8_t *end)
{
	if (end - in < HEADER_SIZE + TRAILER_SIZE || (load32(in) & 0xffffff) != MAGIC_DEFLATE)
		corrupt();
	unsigned flags = in[3];

	end -= TRAILER_SIZE;
	in += HEADER_SIZE;
	if (flags & FEXTRA) {
		if (end - in < 2 || load16(in) > end - in - 2)
			corrupt();
		in += 2 + load16(in);
	}
	if (flags & FNAME)
		in = after_string(in, end);
	if (flags & FCOMMENT)
		in = after_string(in, end);
	if (flags & FHCRC)
		in += 2;
	return in;
}

uint8_t *decode(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	struct reader r = {.in = after_header(in, in_end), .limit = in_end - TRAILER_SIZE};
	uint8_t *end = inflate(&r, out, out_end);

	if (end > out_end || load32(r.in + 4) != (uint32_t)(end - out))
		corrupt();
	return end;
}
