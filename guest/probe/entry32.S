/* Entry points of the 32-bit probe: linux32 (e_entry), PVH, multiboot. */
#include "layout.h"
#include "state.h"
#include "save-state32.h"

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_HANDOVER 0x2badb002
#define MULTIBOOT_FLAGS 3			/* modules on page boundaries, memory information */

	.section .entry, "ax"
	.globl	multiboot_header
	/*
	 * Multiboot and the 32-bit Linux protocol share e_entry; the magic number in EAX tells them apart. Neither ECX nor
	 * the flags are changed by looking.
	 */
	.globl	linux32_entry
linux32_entry:
	movl	%ecx, %dr3
	leal	-MULTIBOOT_HANDOVER(%eax), %ecx
	jecxz	1f
	movl	%dr3, %ecx
	jmp	2f
1:	movl	%dr3, %ecx
	jmp	multiboot_entry
2:	save_state32 PROTOCOL_LINUX32, %esi
	jmp	report

	.balign	4
multiboot_header:
	.long	MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

multiboot_entry:
	save_state32 PROTOCOL_MULTIBOOT, %ebx
	jmp	report

	.globl	pvh_entry
pvh_entry:
	save_state32 PROTOCOL_PVH, %ebx
report:
	call	probe_main
