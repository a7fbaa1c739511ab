/*
 * The probe looks like a kernel: linked high, loaded low, text first, then a gap that no header mentions, data, per-CPU
 * data linked at 0 (64 bit), and a last segment that is nearly all bss. Not one of the sizes is a round number.
 */
#include "layout.h"

#ifdef __x86_64__
OUTPUT_FORMAT(elf64-x86-64)
ENTRY(physical_entry)
#else
OUTPUT_FORMAT(elf32-i386)
ENTRY(physical_entry)
#endif

PHDRS
{
	text PT_LOAD FLAGS(5);
	data PT_LOAD FLAGS(6);
#ifdef __x86_64__
	percpu PT_LOAD FLAGS(6);
#endif
	last PT_LOAD FLAGS(7);
	note PT_NOTE FLAGS(4);
}

SECTIONS
{
	. = LINK_ADDRESS;
	text_start = .;
	.text : AT(ADDR(.text) - VIRTUAL_OFFSET) { *(.entry) *(.text .text.*) *(.rodata .rodata.*) } :text
	.notes : AT(ADDR(.notes) - VIRTUAL_OFFSET) { *(.notes) } :text :note
#ifdef __x86_64__
	. = ALIGN(4096);
	.hypercall_page : AT(ADDR(.hypercall_page) - VIRTUAL_OFFSET) { *(.hypercall_page) } :text
#endif
	text_end = .;

	. = ALIGN(4096) + 0x3000;
	.data : AT(ADDR(.data) - VIRTUAL_OFFSET) { *(.data .data.*) } :data

	. = ALIGN(4096);
#ifdef __x86_64__
	percpu_load = .;
	.percpu 0 : AT(percpu_load - VIRTUAL_OFFSET) { *(.percpu) } :percpu
	. = percpu_load + SIZEOF(.percpu);
	. = ALIGN(4096);
#endif
	.last_data : AT(ADDR(.last_data) - VIRTUAL_OFFSET) { *(.last_data) } :last
	/* bss begins where the file's bytes end, not where the first variable lies */
	bss_start = .;
	.bss : AT(ADDR(.bss) - VIRTUAL_OFFSET) { *(.bss .bss.*) } :last
	bss_end = .;
	/DISCARD/ : { *(.comment) *(.note*) *(.eh_frame) }
}
bss_size = bss_end - bss_start;
#ifdef __x86_64__
physical_entry = linux64_entry - VIRTUAL_OFFSET;
#else
physical_entry = linux32_entry - VIRTUAL_OFFSET;
#endif
ASSERT(bss_end - bss_start > 0x10000, "bss is larger than 64 KiB")
