/*
 * xz streams (the .xz file format 1.1.0) of LZMA2 with, optionally, the x86 filter: what `xz --x86 --lzma2` writes.
 * Whether the right bytes came out is for our caller to check, so the stream's own checks are skipped.
 */
#include "bytes.h"
#include "decompressor.h"

static _Noreturn void corrupt(void)
{
	refuse("the xz data is corrupt");
}

/* ---- LZMA ---- */

#define STATES 12
#define FIRST_MATCH_STATE 7 /* states below follow a literal */
#define POSITION_STATES 16
#define MATCH_MIN 2
#define LOW_LENGTHS 8
#define HIGH_LENGTHS 256
#define DISTANCE_STATES 4
#define SLOTS 64
#define FIRST_LONG_SLOT 4
#define FIRST_ALIGNED_SLOT 14
#define ALIGN_BITS 4
#define SPECIAL_DISTANCES (1 << (FIRST_ALIGNED_SLOT / 2))
#define LITERAL_TREE 0x300
#define LITERAL_TREES 16 /* lc + lp <= 4 */

#define PROBABILITY_BITS 11
#define PROBABILITY_ONE (1 << PROBABILITY_BITS)
#define MOVE_BITS 5
#define TOP (1u << 24)

typedef uint16_t probability;

struct length_coder {
	probability choice, choice2;
	probability low[POSITION_STATES][LOW_LENGTHS];
	probability mid[POSITION_STATES][LOW_LENGTHS];
	probability high[HIGH_LENGTHS];
};

struct probabilities {
	probability is_match[STATES][POSITION_STATES];
	probability is_rep[STATES];
	probability is_rep0[STATES];
	probability is_rep1[STATES];
	probability is_rep2[STATES];
	probability is_rep0_long[STATES][POSITION_STATES];
	probability slot[DISTANCE_STATES][SLOTS];
	probability special[SPECIAL_DISTANCES];
	probability align[1 << ALIGN_BITS];
	struct length_coder match_length, rep_length;
	probability literal[LITERAL_TREES][LITERAL_TREE];
};

static struct probabilities work __attribute__((section(".workspace,\"aw\",@nobits#")));

struct lzma {
	const uint8_t *dictionary; /* its beginning in the output */
	uint32_t reps[4];	   /* distances minus one */
	unsigned state;
	unsigned lc, literal_mask, position_mask;
	int have_properties;
};

static void reset_state(struct lzma *s)
{
	probability *p = (probability *)&work;

	for (size_t i = 0; i < sizeof work / sizeof *p; i++)
		p[i] = PROBABILITY_ONE / 2;
	s->state = 0;
	s->reps[0] = s->reps[1] = s->reps[2] = s->reps[3] = 0;
}

static void set_properties(struct lzma *s, unsigned byte)
{
	unsigned lp, pb;

	if (byte >= 9 * 5 * 5)
		corrupt();
	s->lc = byte % 9;
	lp = byte / 9 % 5;
	pb = byte / 45;
	if (s->lc + lp > 4)
		corrupt();
	s->literal_mask = (1u << lp) - 1;
	s->position_mask = (1u << pb) - 1;
	s->have_properties = 1;
}

/*
 * The range decoder's three words live in local variables of decode_chunk, hence macros. BIT decodes a bit with the
 * probability at `p` and does `zero` or `one`.
 */
#define NORMALIZE()                                                                                                    \
	do {                                                                                                           \
		if (unlikely(range < TOP)) {                                                                           \
			range <<= 8;                                                                                   \
			code = code << 8 | *in++;                                                                      \
		}                                                                                                      \
	} while (0)
#define BIT(p, zero, one)                                                                                              \
	do {                                                                                                           \
		probability *at_ = (p);                                                                                \
		uint32_t probability_ = *at_, bound_;                                                                  \
                                                                                                                       \
		NORMALIZE();                                                                                           \
		bound_ = (range >> PROBABILITY_BITS) * probability_;                                                   \
		if (code < bound_) {                                                                                   \
			range = bound_;                                                                                \
			*at_ = (probability)(probability_ + ((PROBABILITY_ONE - probability_) >> MOVE_BITS));          \
			zero;                                                                                          \
		} else {                                                                                               \
			range -= bound_;                                                                               \
			code -= bound_;                                                                                \
			*at_ = (probability)(probability_ - (probability_ >> MOVE_BITS));                              \
			one;                                                                                           \
		}                                                                                                      \
	} while (0)
/* One more bit of `symbol`, which began as 1, by a tree of probabilities. */
#define TREE_BIT(tree, symbol) BIT((tree) + (symbol), symbol = symbol * 2, symbol = symbol * 2 + 1)

/* One chunk: from `in` to the output up to out_end. */
static void decode_chunk(struct lzma *s, const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	struct probabilities *p = &work;
	const uint8_t *const dictionary = s->dictionary;
	uint32_t range = ~0u, code;
	uint32_t rep0 = s->reps[0], rep1 = s->reps[1], rep2 = s->reps[2], rep3 = s->reps[3];
	unsigned state = s->state;

	if (in_end - in < 5 || *in)
		corrupt();
	code = __builtin_bswap32(load32(in + 1));
	in += 5;

	while (out < out_end) {
		unsigned position_state = (unsigned)(out - dictionary) & s->position_mask;
		uint32_t length, symbol;
		struct length_coder *lengths;

		if (unlikely(in > in_end))
			corrupt();
		BIT(&p->is_match[state][position_state], goto literal, );

		BIT(&p->is_rep[state], goto match, );
		if (unlikely(out == dictionary))
			corrupt();
		BIT(&p->is_rep0[state],
		    BIT(
			    &p->is_rep0_long[state][position_state],
			    {
				    if (unlikely(rep0 >= (size_t)(out - dictionary)))
					    corrupt();
				    state = state < FIRST_MATCH_STATE ? 9 : 11;
				    *out = out[-1 - (intptr_t)rep0];
				    out++;
				    goto next;
			    }, ),
		    {
			    uint32_t distance;

			    BIT(&p->is_rep1[state], distance = rep1,
				{
					BIT(&p->is_rep2[state], distance = rep2,
					    {
						    distance = rep3;
						    rep3 = rep2;
					    });
					rep2 = rep1;
				});
			    rep1 = rep0;
			    rep0 = distance;
		    });
		state = state < FIRST_MATCH_STATE ? 8 : 11;
		lengths = &p->rep_length;
		goto length;

literal: {
		unsigned previous = out > dictionary ? out[-1] : 0;
		unsigned tree = (((unsigned)(out - dictionary) & s->literal_mask) << s->lc) + (previous >> (8 - s->lc));
		probability *literal = p->literal[tree];

		symbol = 1;
		if (state < FIRST_MATCH_STATE) {
			state = state < 4 ? 0 : state - 3;
#pragma GCC unroll 8
			for (unsigned i = 0; i < 8; i++)
				TREE_BIT(literal, symbol);
		} else {
			/* The byte that a match would have gone on with says which tree, as long as it is right. */
			unsigned other, offset = 0x100;

			if (unlikely(rep0 >= (size_t)(out - dictionary)))
				corrupt();
			other = out[-1 - (intptr_t)rep0];
			state = state < 10 ? state - 3 : state - 6;
			do {
				unsigned bit;

				other <<= 1;
				bit = other & offset;
				BIT(
					literal + offset + bit + symbol,
					{
						symbol = symbol * 2;
						offset &= ~bit;
					},
					{
						symbol = symbol * 2 + 1;
						offset &= bit;
					});
			} while (symbol < 0x100);
		}
		*out++ = (uint8_t)symbol;
		continue;
	}

match:
		rep3 = rep2;
		rep2 = rep1;
		rep1 = rep0;
		state = state < FIRST_MATCH_STATE ? 7 : 10;
		lengths = &p->match_length;

length: {
		probability *tree;

		symbol = 1;
		BIT(
			&lengths->choice,
			{
				tree = lengths->low[position_state];
				TREE_BIT(tree, symbol);
				TREE_BIT(tree, symbol);
				TREE_BIT(tree, symbol);
				length = symbol - LOW_LENGTHS + MATCH_MIN;
			},
			BIT(
				&lengths->choice2,
				{
					tree = lengths->mid[position_state];
					TREE_BIT(tree, symbol);
					TREE_BIT(tree, symbol);
					TREE_BIT(tree, symbol);
					length = symbol + MATCH_MIN;
				},
				{
					tree = lengths->high;
					do
						TREE_BIT(tree, symbol);
					while (symbol < HIGH_LENGTHS);
					length = symbol - HIGH_LENGTHS + 2 * LOW_LENGTHS + MATCH_MIN;
				}));
	}

		if (lengths == &p->match_length) {
			unsigned distance_state = length < DISTANCE_STATES + MATCH_MIN ? length - MATCH_MIN : DISTANCE_STATES - 1;
			probability *tree = p->slot[distance_state];
			unsigned bits;

			symbol = 1;
#pragma GCC unroll 6
			for (unsigned i = 0; i < 6; i++)
				TREE_BIT(tree, symbol);
			symbol -= SLOTS;
			rep0 = symbol;
			if (symbol >= FIRST_LONG_SLOT) {
				unsigned node = 1;

				bits = symbol / 2 - 1;
				rep0 = 2 + (symbol & 1);
				if (symbol < FIRST_ALIGNED_SLOT) {
					rep0 <<= bits;
					tree = p->special + rep0 - symbol;
				} else {
					bits -= ALIGN_BITS;
					do {
						NORMALIZE();
						range >>= 1;
						code -= range;
						symbol = 0 - (code >> 31); /* all ones if it was less */
						code += range & symbol;
						rep0 = rep0 * 2 + 1 + symbol;
					} while (--bits);
					bits = ALIGN_BITS;
					rep0 <<= ALIGN_BITS;
					tree = p->align;
				}
				/* The lowest bits, lowest first. */
				symbol = 1;
				do {
					BIT(tree + node, node = node * 2,
					    {
						    node = node * 2 + 1;
						    rep0 += symbol;
					    });
					symbol *= 2;
				} while (--bits);
			}
		}

		size_t distance = (size_t)rep0 + 1;
		if (unlikely(rep0 >= (size_t)(out - dictionary) || length > (size_t)(out_end - out)))
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
next:;
	}
	NORMALIZE();
	if (in != in_end || code)
		corrupt();
	s->reps[0] = rep0;
	s->reps[1] = rep1;
	s->reps[2] = rep2;
	s->reps[3] = rep3;
	s->state = state;
}

/* ---- LZMA2 ---- */

#define END 0
#define STORED_RESET 1
#define STORED 2
#define CODED 0x80
#define RESET(control) ((control) >> 5 & 3) /* 1 state, 2 and properties, 3 and dictionary */

/* Decodes a block's chunks; moves *given behind them and returns the end of the output. */
static uint8_t *decode_chunks(const uint8_t **given, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	const uint8_t *in = *given;
	struct lzma s = {.dictionary = 0};

	for (;;) {
		unsigned control, reset;
		size_t size, compressed;

		if (in_end - in < 6)
			corrupt();
		control = *in++;
		if (control == END) {
			*given = in;
			return out;
		}
		if (control == STORED_RESET || RESET(control) == 3)
			s.dictionary = out;
		if (!s.dictionary)
			corrupt();
		size = ((control & 0x1f) << 16 | in[0] << 8 | in[1]) + 1u;
		if (control < CODED) {
			size = (in[0] << 8 | in[1]) + 1u;
			if (control > STORED || size > (size_t)(in_end - in - 2) || size > (size_t)(out_end - out))
				corrupt();
			in += 2;
			copy_forwards(out, in, size);
			in += size;
			out += size;
			continue;
		}
		compressed = (in[2] << 8 | in[3]) + 1u;
		in += 4;
		reset = RESET(control);
		if (reset >= 2)
			set_properties(&s, *in++);
		if (reset)
			reset_state(&s);
		if (!s.have_properties || compressed > (size_t)(in_end - in) || size > (size_t)(out_end - out))
			corrupt();
		decode_chunk(&s, in, in + compressed, out, out + size);
		in += compressed;
		out += size;
	}
}

/* ---- the x86 filter ---- */

static int is_sign(uint8_t byte)
{
	return byte == 0 || byte == 0xff;
}

#ifdef __SSE2__
typedef char __attribute__((vector_size(16), aligned(1), may_alias)) bytes16;
typedef char __attribute__((vector_size(16))) vector16;

/* The next E8 or E9 from `p` on, or some place from `end` on. */
static inline uint8_t *find_call_or_jump(uint8_t *p, const uint8_t *end)
{
	const vector16 mask = (vector16){0} + (char)0xfe, opcode = (vector16){0} + (char)0xe8;

	for (; p < end; p += 16) {
		vector16 equal = (vector16)((*(const bytes16 *)p & mask) == opcode);
		unsigned found = (unsigned)__builtin_ia32_pmovmskb128(equal);

		if (found)
			return p + __builtin_ctz(found);
	}
	return p;
}
#else
static inline uint8_t *find_call_or_jump(uint8_t *p, const uint8_t *end)
{
	for (; p < end; p += 4) {
		uint32_t zero = (load32(p) & 0xfefefefe) ^ 0xe8e8e8e8;

		/* Its lowest bit is right: borrows only come from below. */
		zero = (zero - 0x01010101) & ~zero & 0x80808080;
		if (zero)
			return p + __builtin_ctz(zero) / 8;
	}
	return p;
}
#endif

/*
 * Makes the absolute operands of call and jump instructions relative again. `recent` has a bit for each of the three
 * bytes before that looked like such an instruction but was left alone (lowest: the last): by them the encoder told
 * instructions from their operands, and so must we.
 */
static void unfilter_x86(uint8_t *start, uint8_t *buffer_end)
{
	/* Which byte of the operand the last of `recent` shares; and whether an instruction can follow them at all. */
	static const uint8_t shared[8] = {0, 1, 2, 2, 3, 3, 3, 3};
	static const uint8_t possible = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4;
	uint8_t *p = start, *last = start - 1, *end = buffer_end - 4;
	unsigned recent = 0;

	if (buffer_end - start <= 4)
		return;
	while ((p = find_call_or_jump(p, end)) < end) {
		size_t gap = (size_t)(p - last);

		recent = gap > 3 ? 0 : recent << (gap - 1) & 7;
		last = p;
		if ((recent && (!(possible >> recent & 1) || is_sign(p[4 - shared[recent]]))) || !is_sign(p[4])) {
			recent = recent << 1 | 1;
			p++;
			continue;
		}

		uint32_t next = (uint32_t)(p + 5 - start), operand = load32(p + 1) - next;
		if (recent) {
			unsigned shift = 8 * shared[recent];

			while (is_sign((uint8_t)(operand >> (24 - shift))))
				operand = (operand ^ (uint32_t)((1ull << (32 - shift)) - 1)) - next;
		}
		/* 25 bits, sign-extended. */
		*(le32 *)(p + 1) = (uint32_t)((int32_t)(operand << 7) >> 7);
		p += 5;
	}
}

/* ---- the container ---- */

#define STREAM_HEADER_SIZE 12
#define FILTER_X86 0x04
#define FILTER_LZMA2 0x21
#define HAS_COMPRESSED_SIZE 0x40
#define HAS_UNCOMPRESSED_SIZE 0x80

static const uint8_t stream_magic[6] = {0xfd, '7', 'z', 'X', 'Z', 0};

static const uint8_t *skip_number(const uint8_t *in, const uint8_t *in_end)
{
	while (in < in_end)
		if (!(*in++ & 0x80))
			return in;
	corrupt();
}

/* A block header; returns whether the x86 filter is used. */
static int read_block_header(const uint8_t *in, const uint8_t *in_end)
{
	unsigned flags = in[1], filters = flags & 3;
	int x86 = 0;

	in += 2;
	if (flags & HAS_COMPRESSED_SIZE)
		in = skip_number(in, in_end);
	if (flags & HAS_UNCOMPRESSED_SIZE)
		in = skip_number(in, in_end);
	if (filters == 1) {
		if (in_end - in < 2 || in[0] != FILTER_X86 || in[1] != 0)
			refuse("the xz data needs an unknown filter");
		in += 2;
		x86 = 1;
	}
	if (filters > 1 || in_end - in < 3 || in[0] != FILTER_LZMA2 || in[1] != 1)
		refuse("the xz data needs an unknown filter");
	return x86;
}

uint8_t *decode(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end)
{
	const uint8_t *stream = in;
	unsigned check_size;

	if (in_end - in < STREAM_HEADER_SIZE + 2)
		corrupt();
	for (unsigned i = 0; i < sizeof stream_magic; i++)
		if (in[i] != stream_magic[i])
			corrupt();
	/* 0 none, 1 to 3: 4 bytes, then twice as many for the next three. */
	check_size = in[7] & 15 ? 4u << ((in[7] & 15) - 1) / 3 : 0;
	in += STREAM_HEADER_SIZE;

	/* Blocks, then an index, which begins with a zero in place of a header's size. */
	while (in_end - in >= 8 && *in) {
		const uint8_t *header_end = in + (*in + 1) * 4;
		uint8_t *block = out;
		int x86;

		if (header_end > in_end)
			corrupt();
		x86 = read_block_header(in, header_end - 4);
		in = header_end;
		out = decode_chunks(&in, in_end, out, out_end);
		if (x86)
			unfilter_x86(block, out);
		in += -(in - stream) & 3;
		in += check_size;
	}
	return out;
}
