/*
 * Entries of the decompressor for 64-bit kernels (boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol"):
 *   0x000  jump to the 32-bit entry; in a stage ELF the ELF header stands here instead
 *   0x100  32-bit entry: ESI = boot_params, flat segments, paging off
 *   0x200  64-bit entry: RSI = boot_params, identity mapped
 *   0x300  the same, for loaders that add 0x200 to a code32_start of 0x100
 * Whatever was entered, the image moves to the end of its init_size bytes and goes on in the tail.
 */
#include "head.h"

#define CR4_PAE 0x20
#define CR4_OSFXSR 0x200
#define MSR_EFER 0xc0000080
#define EFER_LME_BIT 8
#define CR4_LA57 0x1000
#define EFLAGS_ID 0x200000
#define CPUID_LM_BIT 29
#define PAGE_TABLE 0x3	/* present, writable */
#define PAGE_2M 0x83	/* the same for 2 MiB of memory */
#define COM1 0x3f8

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
	movl	%ebp, %esp
	addl	PARAM(IMAGE_SIZE)(%ebp), %esp
	addl	$EARLY_STACK, %esp

	leal	(gdt - head)(%ebp), %eax
	movl	%eax, (gdt_pointer + 2 - head)(%ebp)
	lgdt	(gdt_pointer - head)(%ebp)
	movl	$BOOT_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss

	call	require_long_mode
	kernel_place e
	jmp	enter_long_mode

	.org	head + 0x200
	.code64
	.globl	startup_64
startup_64:
	jmp	start

	.org	head + PARAMETERS_AT
	parameter_table

	.org	head + 0x300
	jmp	start

	.org	head + 0x310
	kernel_info_table

	.code32
enter_long_mode:
	/* Identity map of the first 4 GiB in what will be the page tables at the end of the init_size bytes. */
	addl	PARAM(INIT_SIZE)(%ebp), %ebx
	subl	$PAGE_TABLES_SIZE, %ebx
	movl	%ebx, %edi
	xorl	%eax, %eax
	movl	$(0x2000 / 4), %ecx
	rep stosl
	leal	(0x1000 + PAGE_TABLE)(%ebx), %eax
	movl	%eax, (%ebx)
	movl	$4, %ecx
	leal	0x1000(%ebx), %edx
1:	addl	$0x1000, %eax
	movl	%eax, (%edx)
	addl	$8, %edx
	decl	%ecx
	jnz	1b
	movl	$PAGE_2M, %eax
1:	movl	%eax, (%edi)
	movl	%ecx, 4(%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	jnc	1b

	movl	%cr4, %eax
	andl	$~CR4_LA57, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	%ebx, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	btsl	$EFER_LME_BIT, %eax
	wrmsr
	pushl	$BOOT_CS
	leal	(start_from_32 - head)(%ebp), %eax
	pushl	%eax
	movl	$(CR0_PG | CR0_MP_ET_NE | CR0_PE), %eax
	movl	%eax, %cr0
	lret

require_long_mode:
	/* A processor with CPUID lets us flip the ID flag. */
	pushfl
	popl	%eax
	movl	%eax, %ecx
	xorl	$EFLAGS_ID, %eax
	pushl	%eax
	popfl
	pushfl
	popl	%eax
	cmpl	%ecx, %eax
	je	1f
	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	1f
	movl	$0x80000001, %eax
	cpuid
	btl	$CPUID_LM_BIT, %edx
	jnc	1f
	ret
	/* Nothing but this can be wrong so early, and no C code can run yet: top line of the screen and first port. */
1:	leal	(no_long_mode - head)(%ebp), %esi
	movl	$0xb8000, %edi
	movb	$0x07, %ah
2:	lodsb
	testb	%al, %al
	jz	3f
	stosw
	movw	$COM1, %dx
	outb	%al, %dx
	movl	$100000, %ecx
	loop	.
	jmp	2b
3:	hlt
	jmp	3b
no_long_mode:
	.asciz	"This kernel needs a 64-bit processor.\r\n"

	.code64
start_from_32:
	movl	%esi, %esi	/* the upper half is undefined so far */
start:
	cld
	cli
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	leaq	head(%rip), %rbp
	movq	%rsi, %r15
	kernel_place r

	movl	PARAM(INIT_SIZE)(%rbp), %eax
	leaq	(%rbx, %rax), %rdi
	movl	PARAM(MEMORY_SIZE)(%rbp), %eax
	subq	%rax, %rdi
	movq	%rdi, %r14
	movl	PARAM(IMAGE_SIZE)(%rbp), %ecx
	movq	%rbp, %rsi
	cmpq	%rsi, %rdi
	jbe	1f
	leaq	-8(%rsi, %rcx), %rsi
	leaq	-8(%rdi, %rcx), %rdi
	std
1:	shrl	$3, %ecx
	rep movsq
	cld
	movl	PARAM(TAIL_OFFSET)(%r14), %eax
	addq	%r14, %rax
	jmp	*%rax

	descriptor_table gdt

/* R14 = head, RBX = where the kernel goes, R15 = boot_params */
	.section .tail.entry, "ax"
	.code64
	leaq	stack_end(%rip), %rsp
	leaq	tail_gdt(%rip), %rax
	movq	%rax, (tail_gdt_pointer + 2)(%rip)
	lgdt	tail_gdt_pointer(%rip)
	leaq	1f(%rip), %rax
	pushq	$BOOT_CS
	pushq	%rax
	lretq
1:	movl	$(CR0_PG | CR0_MP_ET_NE | CR0_PE), %eax
	movq	%rax, %cr0
	movq	%cr4, %rax
	orl	$CR4_OSFXSR, %eax
	movq	%rax, %cr4

	leaq	bss(%rip), %rdi
	leaq	bss_cleared(%rip), %rcx
	subq	%rdi, %rcx
	shrl	$3, %ecx
	xorl	%eax, %eax
	rep stosq

	movq	%r15, %rdi
	movq	%r14, %rsi
	movq	%rbx, %rdx
	call	extract_kernel

	movq	%cr4, %rcx
	andl	$~CR4_OSFXSR, %ecx
	movq	%rcx, %cr4
	movq	%r15, %rsi
	.globl	kernel_jump
kernel_jump:
	jmp	*%rax

	descriptor_table tail_gdt

/*
 * void trampoline(void *page_tables): toggles CR4.LA57, which only works with paging off, hence in 32-bit code; this
 * code, its stack and the page tables must lie below 4 GiB. It is copied to the beginning of a page, whose end is its
 * stack.
 */
	.text
	.globl	trampoline
trampoline:
	/* Without long mode the upper halves, and all of R8 to R15, may be lost. */
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, 4f(%rip)
	leaq	(trampoline + 0x1000)(%rip), %rsp
	pushq	$CS32
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
	.code32
1:	movl	$BOOT_DS, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	%cr0, %eax
	andl	$~CR0_PG, %eax
	movl	%eax, %cr0
	movl	%edi, %cr3
	movl	%cr4, %eax
	xorl	$CR4_LA57, %eax
	movl	%eax, %cr4
	call	2f
2:	popl	%ecx
	addl	$(3f - 2b), %ecx
	pushl	$BOOT_CS
	pushl	%ecx
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	lret
	.code64
3:	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movq	4f(%rip), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.balign	8
4:	.quad	0
	.globl	trampoline_end
trampoline_end:

	.section .stack, "aw", @nobits
	.fill	0x4000
