/* Entry points of the 64-bit probe: linux64 (e_entry), PVH (32-bit code), Xen PV. */
#include "layout.h"
#include "state.h"
#include "save-state32.h"

#define PAGE_PRESENT_WRITABLE 3
#define PAGE_LARGE 0x80
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

	.macro	save_state64 protocol
	movq	%rax, S_AX + entry_state(%rip)
	movq	%rbx, S_BX + entry_state(%rip)
	movq	%rcx, S_CX + entry_state(%rip)
	movq	%rdx, S_DX + entry_state(%rip)
	movq	%rsi, S_SI + entry_state(%rip)
	movq	%rdi, S_DI + entry_state(%rip)
	movq	%rbp, S_BP + entry_state(%rip)
	movq	%rsp, S_SP + entry_state(%rip)
	leaq	entry_state(%rip), %rbp
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	movq	%r\n, S_R8 + (\n - 8) * 8(%rbp)
	.endr
	leaq	S_FLAGS + 8(%rbp), %rsp		/* a stack of one word: the slot of the flags */
	pushfq
	cld
	movw	%cs, S_CS(%rbp)
	movw	%ds, S_DS(%rbp)
	movw	%es, S_ES(%rbp)
	movw	%fs, S_FS(%rbp)
	movw	%gs, S_GS(%rbp)
	movw	%ss, S_SS(%rbp)
	movl	$\protocol, S_PROTOCOL(%rbp)
	/* bss must be zero before anybody uses it */
	leaq	bss_start(%rip), %rdi
	movl	$bss_size, %ecx
	xorl	%eax, %eax
	repe scasb
	je	1f
	incl	%ecx
1:	movq	%rcx, S_BSS_REST(%rbp)
	leaq	stack_end(%rip), %rsp
	.endm

	.section .entry, "ax"
	.code64
	.globl	linux64_entry
linux64_entry:
	save_state64 PROTOCOL_LINUX64
	leaq	linux64_entry(%rip), %rax
	movq	%rax, S_IP(%rbp)
	str	S_TR(%rbp)
	sldt	S_LDTR(%rbp)
	movq	%cr0, %rax
	movq	%rax, S_CR0(%rbp)
	movq	%cr2, %rax
	movq	%rax, S_CR2(%rbp)
	movq	%cr3, %rax
	movq	%rax, S_CR3(%rbp)
	movq	%cr4, %rax
	movq	%rax, S_CR4(%rbp)
	sgdt	S_GDTR(%rbp)
	sidt	S_IDTR(%rbp)
	movl	$MSR_EFER, %ecx
	rdmsr
	movl	%eax, S_EFER(%rbp)
	call	probe_main

	/* In ring 3 as far as the processor is concerned: control registers and tables are Xen's. */
	.globl	xen_entry
xen_entry:
	save_state64 PROTOCOL_XEN_PV
	leaq	xen_entry(%rip), %rax
	movq	%rax, S_IP(%rbp)
	call	probe_main

	.code32
	.globl	pvh_entry
pvh_entry:
	save_state32 PROTOCOL_PVH, %ebx
	/* Long mode with the first 4 GiB mapped to themselves; paging.c takes these tables over. */
	leal	(page_tables - 0b)(%ebx), %edi
	leal	0x1000 + PAGE_PRESENT_WRITABLE(%edi), %eax
	movl	%eax, (%edi)
	xorl	%ecx, %ecx
1:	addl	$0x1000, %eax
	movl	%eax, 0x1000(%edi, %ecx, 8)
	incl	%ecx
	cmpl	$4, %ecx
	jne	1b
	movl	$PAGE_PRESENT_WRITABLE | PAGE_LARGE, %eax
	xorl	%ecx, %ecx
2:	movl	%eax, 0x2000(%edi, %ecx, 8)
	addl	$0x200000, %eax
	incl	%ecx
	cmpl	$4 * 512, %ecx
	jne	2b
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	%edi, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	movl	%eax, S_EFER(%ebp)
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	/* a far jump through the stack, for its target is relative to where we run */
	leal	(gdt - 0b)(%ebx), %eax
	pushl	%eax
	pushw	$gdt_end - gdt - 1
	lgdt	(%esp)
	leal	(3f - 0b)(%ebx), %eax
	pushl	$8
	pushl	%eax
	lretl
	.code64
3:	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	leaq	stack_end(%rip), %rsp
	call	probe_main

	.balign	8
gdt:	.quad	0, 0x00af9b000000ffff
gdt_end:

	/* Xen puts its hypercall code here, 32 bytes for each call; the sealed part of the text ends before it. */
	.section .hypercall_page, "ax"
	.globl	hypercall_page
hypercall_page:
	.space	4096
