/*
 * Common to both probes: how 32-bit entry code finds out where it runs and saves what it found, with no stack and
 * without losing a register. `pointer` points to memory that the protocol promises: one word of it is borrowed for a
 * moment, and so are the debug registers. The macro's address is taken as the entry's.
 * Afterwards EBX is the entry's address, EBP that of entry_state, and ESP the end of our own stack.
 */
	.macro	save_state32 protocol, pointer
0:	movl	%eax, %dr0
	movl	%esp, %dr1
	movl	%edx, %dr2
	movl	(\pointer), %eax
	leal	4(\pointer), %esp
	call	1f
1:	popl	%edx
	movl	%eax, -4(%esp)
	leal	(entry_state - 1b)(%edx), %eax
	movl	%ebx, S_BX(%eax)
	movl	%ebp, S_BP(%eax)
	movl	%eax, %ebp
	leal	(0b - 1b)(%edx), %ebx
	movl	%ebx, S_IP(%ebp)
	movl	%ecx, S_CX(%ebp)
	movl	%esi, S_SI(%ebp)
	movl	%edi, S_DI(%ebp)
	movl	$\protocol, S_PROTOCOL(%ebp)
	movl	%dr0, %eax
	movl	%eax, S_AX(%ebp)
	movl	%dr1, %eax
	movl	%eax, S_SP(%ebp)
	movl	%dr2, %eax
	movl	%eax, S_DX(%ebp)
	leal	S_FLAGS + 4(%ebp), %esp		/* a stack of one word: the slot of the flags */
	pushfl
	cld
	movw	%cs, S_CS(%ebp)
	movw	%ds, S_DS(%ebp)
	movw	%es, S_ES(%ebp)
	movw	%fs, S_FS(%ebp)
	movw	%gs, S_GS(%ebp)
	movw	%ss, S_SS(%ebp)
	str	S_TR(%ebp)
	sldt	S_LDTR(%ebp)
	movl	%cr0, %eax
	movl	%eax, S_CR0(%ebp)
	movl	%cr2, %eax
	movl	%eax, S_CR2(%ebp)
	movl	%cr3, %eax
	movl	%eax, S_CR3(%ebp)
	movl	%cr4, %eax
	movl	%eax, S_CR4(%ebp)
	sgdt	S_GDTR(%ebp)
	sidt	S_IDTR(%ebp)
	/* bss must be zero before anybody uses it */
	leal	(bss_start - 0b)(%ebx), %edi
	movl	$bss_size, %ecx
	xorl	%eax, %eax
	repe scasb
	je	2f
	incl	%ecx
2:	movl	%ecx, S_BSS_REST(%ebp)
	leal	(stack_end - 0b)(%ebx), %esp
	.endm
