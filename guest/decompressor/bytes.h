/*
 * Unaligned loads and stores, and copying in the widest steps that the processor is known to have.
 */
#pragma once

#include <stdint.h>
#include <stddef.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

typedef uint16_t __attribute__((aligned(1), may_alias)) le16;
typedef uint32_t __attribute__((aligned(1), may_alias)) le32;
typedef uint64_t __attribute__((aligned(1), may_alias)) le64;

static inline uint16_t load16(const uint8_t *p)
{
	return *(const le16 *)p;
}

static inline uint32_t load32(const uint8_t *p)
{
	return *(const le32 *)p;
}

static inline uint64_t load64(const uint8_t *p)
{
	return *(const le64 *)p;
}

static inline void copy8(uint8_t *to, const uint8_t *from)
{
#ifdef __x86_64__
	*(le64 *)to = load64(from);
#else
	uint32_t a = load32(from), b = load32(from + 4);

	*(le32 *)to = a;
	*(le32 *)(to + 4) = b;
#endif
}

/* COPY_STEP: the most that one load and one store, or two of either, move. */
#ifdef __SSE2__
typedef long long __attribute__((vector_size(16), aligned(1), may_alias)) wide;

static inline void copy16(uint8_t *to, const uint8_t *from)
{
	*(wide *)to = *(const wide *)from;
}
#define COPY_STEP 16
#define copy_step copy16
#else
static inline void copy16(uint8_t *to, const uint8_t *from)
{
	copy8(to, from);
	copy8(to + 8, from + 8);
}
#define COPY_STEP 8
#define copy_step copy8
#endif

/* Fills [to, end) from `from`, COPY_STEP bytes or more below or anywhere above; writes up to 63 bytes too many. */
static inline void copy_wide(uint8_t *to, const uint8_t *from, const uint8_t *end)
{
	copy_step(to, from);
	copy_step(to + COPY_STEP, from + COPY_STEP);
	to += 2 * COPY_STEP;
	from += 2 * COPY_STEP;
	for (; to < end; to += 4 * COPY_STEP, from += 4 * COPY_STEP) {
		copy_step(to, from);
		copy_step(to + COPY_STEP, from + COPY_STEP);
		copy_step(to + 2 * COPY_STEP, from + 2 * COPY_STEP);
		copy_step(to + 3 * COPY_STEP, from + 3 * COPY_STEP);
	}
}

/* Fills [to, end) from `distance` before, repeating what lies between; writes up to 63 bytes too many. */
static inline void copy_match(uint8_t *to, size_t distance, const uint8_t *end)
{
	const uint8_t *from = to - distance;

	if (unlikely(distance < 16)) {
		size_t period = distance;

		if (distance < 8) {
#pragma GCC unroll 8
			for (unsigned i = 0; i < 8; i++)
				to[i] = from[i];
			while (distance < 8)
				distance += period;
			from = to - distance;
		} else {
			copy8(to, from);
		}
		copy8(to + 8, from + 8);
		/* Sixteen bytes on, the same text also begins sixteen bytes back or more. */
		while (distance < 16)
			distance += period;
		to += 16;
		from = to - distance;
	}
	copy_wide(to, from, end);
}

/* Whole strings: forwards, for targets below or apart from their source; backwards; and fill with a byte. */
static inline void copy_forwards(void *to, const void *from, size_t n)
{
	size_t words = n / sizeof(long), rest = n % sizeof(long);

#ifdef __x86_64__
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
#else
	__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
#endif
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(rest) : : "memory");
}

static inline void copy_backwards(void *to, const void *from, size_t n)
{
	size_t words = n / sizeof(long), rest = n % sizeof(long);
	uint8_t *to_last = (uint8_t *)to + n - 1;
	const uint8_t *from_last = (const uint8_t *)from + n - 1;

	__asm__ volatile("std; rep movsb" : "+D"(to_last), "+S"(from_last), "+c"(rest) : : "memory");
	to_last -= sizeof(long) - 1;
	from_last -= sizeof(long) - 1;
#ifdef __x86_64__
	__asm__ volatile("rep movsq; cld" : "+D"(to_last), "+S"(from_last), "+c"(words) : : "memory");
#else
	__asm__ volatile("rep movsl; cld" : "+D"(to_last), "+S"(from_last), "+c"(words) : : "memory");
#endif
}

static inline void move_bytes(uint8_t *to, const uint8_t *from, size_t n)
{
	if (to == from)
		return;
	if (to < from || to >= from + n)
		copy_forwards(to, from, n);
	else
		copy_backwards(to, from, n);
}

static inline void fill_zero(void *to, size_t n)
{
	size_t words = n / sizeof(long), rest = n % sizeof(long);

#ifdef __x86_64__
	__asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
#else
	__asm__ volatile("rep stosl" : "+D"(to), "+c"(words) : "a"(0) : "memory");
#endif
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(0) : "memory");
}
