/* The parts of the probe. The code runs wherever it was put: no address in it is absolute. */
#pragma once

#include "boot_params.h"
#include "io.h"
#include "layout.h"
#include "state.h"

/* console.c: the serial port at 0x3f8, or Xen's console */
void console_init(void);
void print_char(char c);
void print_text(const char *text);
void print_hex(uint64_t value);
void print_decimal(uint32_t value);

/* "key: ", and whole lines. A key is printed in two parts, so that lists need no formatting. */
void begin_line(const char *group, const char *key);
void end_line(void);
void line_text(const char *group, const char *key, const char *value);
void line_hex(const char *group, const char *key, uint64_t value);
void line_decimal(const char *group, const char *key, uint32_t value);

/* A line of the form `memory: START SIZE TYPE`. */
void line_memory(uint64_t start, uint64_t size, uint32_t type);

/* The text at a guest address in quotes, at most 4096 characters of it; anything but printable ASCII as \xNN. */
void line_string(const char *key, uint64_t address);

/* `initrd: START SIZE` and its CRC-32. */
void line_initrd(uint64_t start, uint64_t size);

/* paging.c: makes physical memory readable; false if it cannot be. */
int map_memory(uint64_t start, uint64_t size);
static inline void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

/* crc32.c: CRC-32 as gzip has it, of what follows the bytes whose CRC is `before` (0 to begin with) */
uint32_t crc32(uint32_t before, const void *bytes, uint64_t size);

/* One for each protocol: everything that the loader handed over. */
void report_boot_params(uint64_t address);
void report_pvh(uint64_t address);
void report_multiboot(uint64_t address);
void report_xen(uint64_t address);

/* segments.c: prints what is wrong with the probe's own memory; the number of failed checks. */
unsigned report_segments(void);

/* xen.c */
int xen_console_write(const char *text, unsigned length);
void xen_console_init(void);
void xen_shutdown(void);

static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}
