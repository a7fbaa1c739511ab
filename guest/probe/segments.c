/* Is every byte of the probe where its program headers promise it? */
#include "probe.h"

#pragma GCC visibility push(hidden)
extern const uint8_t text_start[], text_end[], pattern_data[];
extern const uint32_t sealed_crc, last_word;
#ifdef __x86_64__
extern const uint8_t percpu_load[], hypercall_page[], relocated_instructions[];
extern const uint64_t relocated_words[];
#else
extern const uint32_t relocated_words[];
#endif
#pragma GCC visibility pop

static unsigned failures;

static void verdict(const char *key, int good)
{
	begin_line("check.", key);
	print_text(good ? "ok" : "FAILED");
	end_line();
	failures += !good;
}

static void failed_at(const char *key, uint64_t offset)
{
	begin_line("check.", key);
	print_text("FAILED at offset ");
	print_hex(offset);
	end_line();
	failures++;
}

static void check_pattern(const char *key, const uint8_t *bytes, unsigned size, uint32_t seed)
{
	uint32_t state = seed;

	for (unsigned i = 0; i < size; i++) {
		state = PATTERN_NEXT(state);
		if (bytes[i] != (state >> 16 & 0xff)) {
			failed_at(key, i);
			return;
		}
	}
	verdict(key, 1);
}

/* All words of one kind moved by the same distance, which is printed. */
static void check_relocations(const char *key, int64_t (*word)(unsigned))
{
	int64_t moved = word(0);
	int good = 1;

	for (unsigned i = 1; i < RELOCATED; i++)
		good &= word(i) == moved;
	line_hex("moved.", key, moved);
	verdict(key, good);
}

#ifdef __x86_64__
static int64_t moved_abs64(unsigned i)
{
	return relocated_words[i] - (LINK_ADDRESS + i * RELOCATED_STEP);
}

static int64_t moved_abs32(unsigned i)
{
	enum { INSTRUCTION = 8, IMMEDIATE = 3 };
	const uint8_t *p = relocated_instructions + i * INSTRUCTION + IMMEDIATE;
	int32_t value = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;

	return value - (int64_t)(LINK_ADDRESS + i * RELOCATED_STEP);
}
#else
static int64_t moved_abs32(unsigned i)
{
	return (int32_t)(relocated_words[i] - (LINK_ADDRESS + i * RELOCATED_STEP));
}
#endif

static uint32_t text_crc(void)
{
#ifdef __x86_64__
	/* Xen fills in the hypercall page, which ends the segment and is zero in the file */
	if (entry_state.protocol == PROTOCOL_XEN_PV) {
		static const uint8_t zero;
		uint32_t crc = crc32(0, text_start, hypercall_page - text_start);

		for (const uint8_t *p = hypercall_page; p < text_end; p++)
			crc = crc32(crc, &zero, 1);
		return crc;
	}
#endif
	return crc32(0, text_start, text_end - text_start);
}

unsigned report_segments(void)
{
	uint64_t loaded = (uintptr_t)text_start;

	line_hex("moved.", "load_address", loaded);
	verdict("text", text_crc() == sealed_crc);
	check_pattern("data", pattern_data, PATTERN_SIZE, PATTERN_SEED);
#ifdef __x86_64__
	check_pattern("percpu", percpu_load, PERCPU_SIZE, PERCPU_SEED);
	check_relocations("abs64", moved_abs64);
#endif
	check_relocations("abs32", moved_abs32);
	verdict("last_data", last_word == 0x1a57da7a);
	if (entry_state.bss_rest)
		line_hex("", "bss_rest", entry_state.bss_rest);
	verdict("bss", !entry_state.bss_rest);
#ifndef __x86_64__
	/* in 32 bit there is one distance for both */
	verdict("moved", (uint32_t)(loaded - PHYSICAL_ADDRESS) == (uint32_t)moved_abs32(0));
#endif
	return failures;
}
