/*
 * The first sector of a boot image with the setup header of boot protocol 2.15 (Documentation/arch/x86/boot.rst),
 * and the entry and exit of the real-mode setup code. Offsets in the linked file are offsets in the image and, once
 * loaded, in the real-mode segment.
 *
 * What `pack` patches (the values here are those of an image without a kernel):
 *   0x1f2 root_flags, 0x1f4 syssize, 0x1fa vid_mode, 0x1fc root_dev, 0x211 loadflags, 0x22c initrd_addr_max,
 *   0x230 kernel_alignment, 0x234 relocatable_kernel, 0x235 min_alignment, 0x236 xloadflags, 0x238 cmdline_size,
 *   0x248 payload_offset, 0x24c payload_length, 0x258 pref_address, 0x260 init_size, 0x268 kernel_info_offset,
 *   0x214 code32_start (when the protected-mode part does not start with code), and the NUL-terminated text between
 *   version_string and version_string_end, to which kernel_version (0x20e) already points.
 * Everything else belongs to this code: setup_sects, boot_flag, jump, header, version, kernel_version, heap_end_ptr.
 */

#define SIGNATURE 0x5a5aaa55

#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define BOOT_TSS 0x20

	.code16
	.section .boot_sector, "ax"

/* Somebody wrote the image to a disk and started it as a boot sector: say so and wait. */
	.globl	boot_sector
boot_sector:
	ljmp	$0x07c0, $1f
1:	movw	%cs, %ax
	movw	%ax, %ds
	xorw	%ax, %ax
	movw	%ax, %ss
	movw	$0x7c00, %sp
	sti
	cld
	jmp	2f
	/* A loader older than protocol 2.02 leaves its mark here; our own bytes must not look like one. */
	.org	boot_sector + 0x20
	.long	0
2:	movw	$not_a_boot_sector, %si
3:	lodsb
	testb	%al, %al
	jz	4f
	movb	$0x0e, %ah
	movw	$7, %bx
	int	$0x10
	jmp	3b
4:	xorw	%ax, %ax
	int	$0x16
	int	$0x19
	ljmp	$0xf000, $0xfff0
not_a_boot_sector:
	.ascii	"This is a Linux kernel, and a kernel is started by a boot loader.\r\n"
	.asciz	"Press any key to start something else.\r\n"

	.section .setup_header, "a"
	.byte	0xff				/* 0x1ef sentinel: a loader that copies too much is told by it */
	.byte	0
setup_header:
	.byte	setup_sectors			/* 0x1f1 setup_sects */
	.word	1				/* 0x1f2 root_flags: read-only */
	.long	0				/* 0x1f4 syssize */
	.word	0				/* 0x1f8 ram_size */
	.word	0xffff				/* 0x1fa vid_mode: normal */
	.word	0				/* 0x1fc root_dev */
	.word	0xaa55				/* 0x1fe boot_flag */
	.byte	0xeb, entry - header_magic	/* 0x200 jump; the second byte gives the header's end */
header_magic:
	.ascii	"HdrS"				/* 0x202 header */
	.word	0x020f				/* 0x206 version */
	.globl	realmode_swtch
realmode_swtch:
	.long	0				/* 0x208 realmode_swtch */
	.word	0x1000				/* 0x20c start_sys_seg: obsolete */
	.word	version_string - 0x200		/* 0x20e kernel_version */
	.byte	0				/* 0x210 type_of_loader */
	.byte	0x01				/* 0x211 loadflags: LOADED_HIGH */
	.word	0x8000				/* 0x212 setup_move_size */
	.long	0x100000			/* 0x214 code32_start */
	.long	0				/* 0x218 ramdisk_image */
	.long	0				/* 0x21c ramdisk_size */
	.long	0				/* 0x220 bootsect_kludge */
	.word	setup_memory_end - 0x200	/* 0x224 heap_end_ptr: setup needs no memory beyond its own */
	.byte	0				/* 0x226 ext_loader_ver */
	.byte	0				/* 0x227 ext_loader_type */
	.long	0				/* 0x228 cmd_line_ptr */
	.long	0x7fffffff			/* 0x22c initrd_addr_max */
	.long	0x200000			/* 0x230 kernel_alignment */
	.byte	1				/* 0x234 relocatable_kernel */
	.byte	21				/* 0x235 min_alignment */
	.word	0				/* 0x236 xloadflags */
	.long	2047				/* 0x238 cmdline_size */
	.long	0				/* 0x23c hardware_subarch */
	.quad	0				/* 0x240 hardware_subarch_data */
	.long	0				/* 0x248 payload_offset */
	.long	0				/* 0x24c payload_length */
	.quad	0				/* 0x250 setup_data */
	.quad	0x1000000			/* 0x258 pref_address */
	.long	0				/* 0x260 init_size */
	.long	0				/* 0x264 handover_offset */
	.long	0				/* 0x268 kernel_info_offset */

/*
 * Entered with CS = DS + 0x20 and IP = 0. Boot loaders differ in segment, stack and heap; all of them leave the first
 * 32 KiB of the segment to us, and the stack is in there, so none of that matters.
 */
entry:
	cli
	movw	%ds, %ax
	movw	%ax, %es
	movw	%ax, %ss
	movl	$stack_end, %esp
	sti
	cld
	pushw	%ds
	pushw	$1f
	lretw
1:	movw	$cut_short, %ax
	cmpl	$SIGNATURE, signature
	jne	2f
	xorl	%eax, %eax
	movl	$bss_start, %edi
	movl	$bss_size_longs, %ecx
	rep stosl
	calll	setup_main
2:	movzwl	%ax, %eax
	calll	die

	.section .rodata
cut_short:
	.asciz	"the boot loader did not load all of the setup code"

	.section .version_string, "a"
	.globl	version_string, version_string_end
version_string:
	.space	256
version_string_end:

	.section .signature, "a"
signature:
	.long	SIGNATURE

/*
 * void far_call(uint32_t pointer): calls real-mode code at segment:offset (the realmode_swtch hook).
 */
	.section .text
	.globl	far_call
far_call:
	pushal
	pushl	%eax
	movw	%sp, %bp
	lcallw	*(%bp)
	popl	%eax
	popal
	retl

/*
 * void enter_protected_mode(uint32_t entry, uint32_t boot_params) __attribute__((noreturn))
 * With interrupts off: loads the tables, switches, and jumps with ESI = boot_params, the flat selectors 0x10 and 0x18,
 * and EBP = EDI = EBX = 0, as boot.rst's 32-bit protocol has it. A20 is on.
 */
	.globl	enter_protected_mode
enter_protected_mode:
	movl	%edx, %esi
	xorl	%ebx, %ebx
	movw	%cs, %bx
	shll	$4, %ebx
	addl	%ebx, protected_mode_address
	addl	%ebx, gdt_pointer + 2
	lidtl	no_idt
	lgdtl	gdt_pointer
	movw	$BOOT_DS, %cx
	movl	%cr0, %edx
	orb	$1, %dl
	movl	%edx, %cr0
	jmp	1f				/* processors before the 486 prefetch across the switch */
1:	ljmpl	*protected_mode_address

	.code32
protected_mode:
	movw	%cx, %ds
	movw	%cx, %es
	movw	%cx, %fs
	movw	%cx, %gs
	movw	%cx, %ss
	addl	%ebx, %esp
	/* VT-x refuses to enter a guest whose TR and LDTR were never loaded */
	movw	$BOOT_TSS, %cx
	ltr	%cx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	lldt	%cx
	jmp	*%eax

	.code16
	.section .data
protected_mode_address:
	.long	protected_mode
	.word	BOOT_CS

	.balign	16
gdt:	.quad	0, 0
	.quad	0x00cf9b000000ffff		/* 0x10: code, 4 GiB */
	.quad	0x00cf93000000ffff		/* 0x18: data, 4 GiB */
	.quad	0x0000890010000067		/* 0x20: a task state segment at 0x1000 that nothing reads */
gdt_end:
	.word	0
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
	.word	0
no_idt:	.word	0
	.long	0

	.section .stack, "aw", @nobits
	.space	4096
stack_end:
