/* Where the probe is linked, and the sizes of what it checks. Used by C, assembly and the linker script. */
#pragma once

#define PHYSICAL_ADDRESS 0x1000000
#ifdef __x86_64__
#define VIRTUAL_OFFSET 0xffffffff80000000
#define LINK_ADDRESS 0xffffffff81000000
#else
#define VIRTUAL_OFFSET 0xc0000000
#define LINK_ADDRESS 0xc1000000
#endif

/* Neither ends on a page or on a word, as a real segment need not. */
#define PATTERN_SIZE 8317
#define PERCPU_SIZE 1021
#define PATTERN_SEED 0x1234567
#define PERCPU_SEED 0x7654321

/* The next state of the pattern's generator; a byte of the pattern is bits 16 to 23 of a state. */
#define PATTERN_NEXT(x) (((x) * 1103515245 + 12345) & 0xffffffff)

/* Relocated words of each kind. */
#define RELOCATED 16
#define RELOCATED_STEP 4

#define PAGE_TABLE_PAGES 16
#define STACK_SIZE 16384
#define BSS_BALLAST 98307
