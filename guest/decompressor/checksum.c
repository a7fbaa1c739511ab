/*
 * The checksum that parameters.h defines, over everything that was decompressed: several formats have none, or one
 * that takes longer than decoding does.
 */
#include "bytes.h"
#include "decompressor.h"

struct sums {
	uint32_t words;
	uint32_t sums;
};

static void add_words(struct sums *s, const uint8_t *p, const uint8_t *end)
{
#pragma GCC unroll 8
	for (; p < end; p += 4) {
		s->words += load32(p);
		s->sums += s->words;
	}
}

#ifdef __SSE2__
/*
 * The same for four words a step: lane i of `words` sums every fourth word, and `sums` their sums. Of n steps, word
 * 4k + i should count 4(n - k) - i times, and it counts n - k times in its lane of `sums`.
 */
typedef uint32_t __attribute__((vector_size(16), may_alias)) lanes;

static void add_aligned(struct sums *s, const uint8_t *p, const uint8_t *end)
{
	lanes words = {0}, sums = {0};

#pragma GCC unroll 8
	for (; p < end; p += 16) {
		words += *(const lanes *)p;
		sums += words;
	}
	s->words = words[0] + words[1] + words[2] + words[3];
	s->sums = 4 * (sums[0] + sums[1] + sums[2] + sums[3]) - words[1] - 2 * words[2] - 3 * words[3];
}
#define ALIGNED 128
#else
#define add_aligned add_words
#define ALIGNED 32
#endif

uint64_t checksum(const uint8_t *p, size_t n)
{
	const uint8_t *aligned = p + (n & -ALIGNED), *whole = p + (n & -4);
	struct sums s = {0, 0};
	uint8_t rest[4] = {0};

	add_aligned(&s, p, aligned);
	add_words(&s, aligned, whole);
	if (n % 4) {
		for (unsigned i = 0; i < n % 4; i++)
			rest[i] = whole[i];
		add_words(&s, rest, rest + 4);
	}
	return (uint64_t)s.sums << 32 | s.words;
}
