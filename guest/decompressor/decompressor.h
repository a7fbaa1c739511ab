/*
 * What the parts of the decompressor's tail share.
 */
#pragma once

/* No symbol leaves the blob, so none needs a global offset table. */
#pragma GCC visibility push(hidden)

#include <boot_params.h>
#include <stddef.h>
#include <stdint.h>
#include "parameters.h"

/* main.c: what was given to us. */
extern struct boot_params *boot_params;
extern const uint8_t *image; /* its beginning, which the kernel overwrites */
extern struct parameters parameters;

/* Says why on every console there is and stops for good. */
_Noreturn void refuse(const char *why);

/* unpack.c or none.c: where the plain kernel, ELF file and relocations, lies; `output` is free for it. */
const uint8_t *unpack_kernel(uint8_t *output);

/*
 * The codec: decompresses [in, in_end) to `out`, never beyond out_end, and returns the end of what it wrote. May use
 * up to OVERRUN bytes behind out_end as scratch and read a little behind in_end. Refuses corrupt input.
 */
#define OVERRUN 64
typedef uint8_t *decoder(const uint8_t *in, const uint8_t *in_end, uint8_t *out, uint8_t *out_end);
decoder decode, decode_sse2;

/* checksum.c: as parameters.h defines it; `p` is aligned as the kernel is. */
typedef uint64_t summer(const uint8_t *p, size_t n);
summer checksum, checksum_sse2;

/* processor.c */
#ifdef __x86_64__
static inline int has_cpuid(void)
{
	return 1;
}
#else
int has_cpuid(void);
/* Turns SSE2 on if the processor has it; the 64-bit program always has. */
int enable_sse2(void);
void disable_sse2(void);
#endif

/* elf.c: puts the segments of the ELF file at `file` in place for a kernel at `output`; returns its entry point. */
uintptr_t place_kernel(const uint8_t *file, uint8_t *output, uintptr_t virtual_address);

/* command-line.c */
const char *command_line(void);
int command_line_has(const char *option);
/* Copies the value of the last `name=value`, cut to `size`, and returns its length or -1. */
int command_line_value(const char *name, char *value, unsigned size);

/* kaslr.c: a random base for the kernel, physical in *output and, for 64-bit kernels, virtual in *virtual_address. */
void choose_random_location(uintptr_t *output, uintptr_t *virtual_address);

#ifdef __x86_64__
/* identity-map.c: our own page tables. */
void identity_map_init(uintptr_t buffer);
void identity_map(uintptr_t start, uintptr_t end);
unsigned paging_levels(void);
/* From four levels to five or back, by way of two pages of memory below 4 GiB. */
#define LOW_MEMORY_SIZE 0x2000
void switch_paging_levels(uint8_t *low_memory);

/* la57.c */
void choose_paging_levels(void);

/* head_64.S */
extern uint8_t trampoline[], trampoline_end[];
#else
static inline void identity_map(uintptr_t start, uintptr_t end)
{
	(void)start;
	(void)end;
}
#endif

static inline uint64_t command_line_pointer(void)
{
	/* A set sentinel means that the fields outside the setup header are garbage: boot.rst, zero-page.rst. */
	uint64_t high = boot_params->sentinel ? 0 : boot_params->ext_cmd_line_ptr;

	return high << 32 | boot_params->hdr.cmd_line_ptr;
}
