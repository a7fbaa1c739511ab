/*
 * The parameter table: what `pack` tells the decompressor about the image that it was built into. It stands at
 * PARAMETERS_AT in the protected-mode part; docs/format.md describes it too. All fields are little-endian; sizes are
 * in bytes; offsets count from the start of the protected-mode part.
 */
#pragma once

#define PARAMETERS_AT 0x210
#define PARAMETERS_MAGIC 0x50537a62 /* "bzSP" */
#define PARAMETERS_SIZE 0x60

/* flags */
#define FLAG_RELOCATABLE 0x01	/* may run at any address that kernel_alignment allows; else only at load_physical_addr */
#define FLAG_KASLR 0x02		/* choose a random base unless the command line says nokaslr */
#define FLAG_LA57 0x08		/* the kernel can run with five paging levels: use them if the processor has them */

#define MAX_COMMAND_LINE 4095 /* of the default command line, without its NUL */

/* For the assembler: offsets of the fields below. */
#define PARAM_FLAGS 0x08
#define PARAM_IMAGE_SIZE 0x0c
#define PARAM_MEMORY_SIZE 0x10
#define PARAM_TAIL_OFFSET 0x14
#define PARAM_INIT_SIZE 0x30
#define PARAM_KERNEL_ALIGNMENT 0x34
#define PARAM_MIN_ALIGNMENT 0x38
#define PARAM_LOAD_PHYSICAL_ADDR 0x40

/*
 * Memory the decompressor needs behind its own zeroed data: page tables at the very end of the init_size bytes.
 * The 32-bit entry of the 64-bit variant uses the first EARLY_TABLES_SIZE of them to get to long mode.
 */
#define EARLY_TABLES_SIZE 0x6000
#ifdef __x86_64__
#define PAGE_TABLES_SIZE 0x2e000
#else
#define PAGE_TABLES_SIZE 0
#endif

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct parameters {
	uint32_t magic;
	uint32_t length; /* of this table */
	uint32_t flags;
	uint32_t image_size;  /* of head, payload and tail: what is moved; a multiple of 16 */
	uint32_t memory_size; /* image_size, the tail's zeroed data and the page tables; a multiple of 16 */
	uint32_t tail_offset; /* a multiple of 16 */
	uint32_t payload_offset;
	uint32_t payload_length; /* what the codec gets: without a size word behind it */
	uint32_t elf_size;	 /* of the decompressed ELF file */
	uint32_t relocations_size; /* of the relocation table behind it */
	uint32_t relocation_groups; /* 0 none; 1: 32; 2: 64, 32; 3: 64, inverse 32, 32 */
	uint32_t output_size; /* room at the kernel's address for decompressing and for putting segments in place */
	uint32_t init_size;
	uint32_t kernel_alignment;
	uint32_t min_alignment;	    /* a power of two: the least kernel_alignment that a boot loader may ask for */
	uint32_t kernel_image_size; /* how far from its start the kernel's virtual mapping reaches */
	uint64_t load_physical_addr; /* where the kernel is linked to */
	uint32_t command_line_offset; /* NUL-terminated, for a boot loader that gives none; 0: there is none */
	uint32_t initrd_offset; /* for a boot loader that gives none; a multiple of 4096 */
	/*
	 * Of ELF file and relocations, taken as 32-bit words: the sum of the words in the low half, the sum of these
	 * sums after each word in the high half. 0: not checked.
	 */
	uint64_t checksum;
	uint32_t initrd_size; /* 0: there is none */
	uint32_t reserved;
};

#define PARAMETER_AT(field, offset) \
	_Static_assert(offsetof(struct parameters, field) == (offset), #field " is at " #offset)
PARAMETER_AT(flags, PARAM_FLAGS);
PARAMETER_AT(image_size, PARAM_IMAGE_SIZE);
PARAMETER_AT(memory_size, PARAM_MEMORY_SIZE);
PARAMETER_AT(tail_offset, PARAM_TAIL_OFFSET);
PARAMETER_AT(init_size, PARAM_INIT_SIZE);
PARAMETER_AT(kernel_alignment, PARAM_KERNEL_ALIGNMENT);
PARAMETER_AT(min_alignment, PARAM_MIN_ALIGNMENT);
PARAMETER_AT(load_physical_addr, PARAM_LOAD_PHYSICAL_ADDR);
_Static_assert(sizeof(struct parameters) == PARAMETERS_SIZE, "size of the parameter table");
#endif
