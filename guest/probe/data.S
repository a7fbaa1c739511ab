/* What the probe checks of itself: pattern data, relocated words, bss; and the place where the entry code saves state. */
#include "layout.h"
#include "state.h"

	.macro	pattern name, size, seed
	.globl	\name
\name:
	.set	x, \seed
	.rept	\size
	.set	x, PATTERN_NEXT(x)
	.byte	(x >> 16) & 0xff
	.endr
	.endm

	.data
	pattern	pattern_data, PATTERN_SIZE, PATTERN_SEED

	.balign	16
	.globl	entry_state, sealed_crc
entry_state:
	.space	S_SIZE
	.ascii	"CRC-32 of text:"			/* seal.mjs looks for this */
sealed_crc:
	.long	0

	.balign	16
	.globl	relocated_words
#ifdef __x86_64__
	.globl	relocated_instructions
relocated_words:
	.set	i, 0
	.rept	RELOCATED
	.quad	text_start + i * RELOCATED_STEP
	.set	i, i + 1
	.endr
	/* a sign-extended 32-bit address occurs in instructions only; nobody executes these */
relocated_instructions:
	.set	i, 0
	.rept	RELOCATED
	movq	$text_start + i * RELOCATED_STEP, %rax
	nop
	.set	i, i + 1
	.endr

	/* Linked at 0 like the per-CPU data of a real kernel, loaded behind the data. */
	.section .percpu, "aw"
	pattern	percpu_data, PERCPU_SIZE, PERCPU_SEED
#else
relocated_words:
	.set	i, 0
	.rept	RELOCATED
	.long	text_start + i * RELOCATED_STEP
	.set	i, i + 1
	.endr
#endif

	/* The last segment has a little data and much bss. */
	.section .last_data, "aw"
	.globl	last_word
last_word:
	.long	0x1a57da7a

	.bss
	.globl	page_tables, stack_end
	.balign	4096
page_tables:
	.space	PAGE_TABLE_PAGES * 4096
	.space	STACK_SIZE
stack_end:
	.space	BSS_BALLAST
