/*
 * void bios_call(uint8_t vector, struct bios_registers *registers)
 * Loads all registers from the structure, does `int vector`, stores all registers back. The layout is that of
 * struct bios_registers in bios.h.
 */
	.code16
	.section .text
	.globl	bios_call
bios_call:
	movb	%al, vector
	pushfl
	pushl	%fs
	pushl	%gs
	pushal
	pushl	%edx

	/* the registers wanted, in the order in which they are popped */
	subw	$44, %sp
	movl	%edx, %esi
	movzwl	%sp, %edi
	movl	$11, %ecx
	rep movsl
	popal
	popw	%gs
	popw	%fs
	popw	%es
	popw	%ds
	popfl

	.byte	0xcd				/* int */
vector:	.byte	0

	pushfl
	pushw	%ds
	pushw	%es
	pushw	%fs
	pushw	%gs
	pushal

	movw	%cs, %ax
	movw	%ax, %ds
	movw	%ax, %es
	cld
	movzwl	%sp, %esp			/* some BIOSes leave garbage in the upper half */
	movl	44(%esp), %edi
	movl	%esp, %esi
	movl	$11, %ecx
	rep movsl
	addl	$48, %esp
	popal
	popl	%gs
	popl	%fs
	popfl
	retl
