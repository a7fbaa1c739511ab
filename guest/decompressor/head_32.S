/*
 * Entry of the decompressor for 32-bit kernels (boot.rst, "32-bit Boot Protocol"):
 *   0x000  jump to the entry; in a stage ELF the ELF header stands here instead
 *   0x100  entry: ESI = boot_params, flat segments, paging off
 * The image moves to the end of its init_size bytes and goes on in the tail.
 */
#include "head.h"

	.section .head, "ax"
	.code32
	.globl	head
head:
	jmp	startup_32

	.org	head + 0x100
	.globl	startup_32
startup_32:
	cld
	cli
	/* Where are we? The only memory known to be ours is scratch in boot_params. */
	leal	(BP_SCRATCH + 4)(%esi), %esp
	call	1f
1:	popl	%ebp
	subl	$(1b - head), %ebp
	jmp	start

	.org	head + PARAMETERS_AT
	parameter_table

	.org	head + 0x310
	kernel_info_table

start:
	movl	$BOOT_DS, %eax
	leal	(gdt - head)(%ebp), %edx
	movl	%edx, (gdt_pointer + 2 - head)(%ebp)
	lgdt	(gdt_pointer - head)(%ebp)
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	kernel_place e

	pushl	%esi
	movl	%ebx, %edi
	addl	PARAM(INIT_SIZE)(%ebp), %edi
	subl	PARAM(MEMORY_SIZE)(%ebp), %edi
	movl	%edi, %edx
	movl	PARAM(IMAGE_SIZE)(%ebp), %ecx
	movl	%ebp, %esi
	cmpl	%esi, %edi
	jbe	1f
	leal	-4(%esi, %ecx), %esi
	leal	-4(%edi, %ecx), %edi
	std
1:	shrl	$2, %ecx
	rep movsl
	cld
	popl	%esi
	movl	PARAM(TAIL_OFFSET)(%edx), %eax
	addl	%edx, %eax
	jmp	*%eax

	descriptor_table gdt

/* EDX = head, EBX = where the kernel goes, ESI = boot_params */
	.section .tail.entry, "ax"
tail_start:
	call	1f
1:	popl	%ebp
	leal	(stack_end - 1b)(%ebp), %esp
	leal	(tail_gdt - 1b)(%ebp), %eax
	movl	%eax, (tail_gdt_pointer + 2 - 1b)(%ebp)
	lgdt	(tail_gdt_pointer - 1b)(%ebp)
	leal	(2f - 1b)(%ebp), %eax
	pushl	$BOOT_CS
	pushl	%eax
	lret
2:
	leal	(bss - 1b)(%ebp), %edi
	leal	(bss_cleared - 1b)(%ebp), %ecx
	subl	%edi, %ecx
	shrl	$2, %ecx
	xorl	%eax, %eax
	rep stosl

	subl	$4, %esp
	pushl	%ebx
	pushl	%edx
	pushl	%esi
	call	extract_kernel
	movl	(%esp), %esi
	xorl	%ebx, %ebx
	.globl	kernel_jump
kernel_jump:
	jmp	*%eax

	descriptor_table tail_gdt

	.section .stack, "aw", @nobits
	.fill	0x4000
