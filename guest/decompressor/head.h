/*
 * What the heads of the 32-bit and the 64-bit decompressor share.
 */
#include "parameters.h"

#define CR0_PE 0x00000001
#define CR0_MP_ET_NE 0x00000032
#define CR0_PG 0x80000000

/* Selectors of the global descriptor table; BOOT_CS and BOOT_DS are what boot.rst calls __BOOT_CS and __BOOT_DS. */
#define CS32 0x08
#define BOOT_CS 0x10
#define BOOT_DS 0x18

/* boot_params, zero-page.rst */
#define BP_SCRATCH 0x1e4
#define BP_HEADER 0x202
#define BP_KERNEL_ALIGNMENT 0x230
#define HDRS 0x53726448

/* Bytes behind the image that the 32-bit entry uses as a stack. */
#define EARLY_STACK 0x100

#define PARAM(field) (parameter_table - head + PARAM_##field)

/* The table that `pack` fills in. */
	.macro	parameter_table
	.globl	parameter_table
parameter_table:
	.long	PARAMETERS_MAGIC
	.long	PARAMETERS_SIZE
	.fill	PARAMETERS_SIZE - 8
	.endm

/* boot.rst, "The kernel_info": kernel_info_offset points here; setup_type_max is for `pack` to fill in. */
	.macro	kernel_info_table
	.globl	kernel_info
kernel_info:
	.ascii	"LToP"
	.long	16
	.long	16
	.long	0
	.endm

/*
 * BX = where the kernel goes without KASLR: our own address (BP) aligned as boot_params (SI) ask for or, if we are
 * below the address that the kernel is linked to, or it is not relocatable, that address. Spoils AX, CX and DX.
 * \r is the first letter of address-sized registers.
 */
	.macro	kernel_place r
	mov	PARAM(LOAD_PHYSICAL_ADDR)(%\r\()bp), %\r\()bx
	testb	$FLAG_RELOCATABLE, PARAM(FLAGS)(%\r\()bp)
	jz	9f
	movl	PARAM(KERNEL_ALIGNMENT)(%\r\()bp), %eax
	cmpl	$HDRS, BP_HEADER(%\r\()si)
	jne	8f
	movl	BP_KERNEL_ALIGNMENT(%\r\()si), %ecx
	leal	-1(%\r\()cx), %edx
	testl	%ecx, %edx
	jnz	8f
	cmpl	PARAM(MIN_ALIGNMENT)(%\r\()bp), %ecx
	jb	8f
	movl	%ecx, %eax
8:	lea	-1(%\r\()bp, %\r\()ax), %\r\()dx
	neg	%\r\()ax
	and	%\r\()ax, %\r\()dx
	cmp	%\r\()bx, %\r\()dx
	jb	9f
	mov	%\r\()dx, %\r\()bx
9:
	.endm

/* \name and \name\()_pointer, whose base is for the code to fill in. The tail has its own: the head is overwritten. */
	.macro	descriptor_table name
	.balign	8
\name:
	.quad	0
	.quad	0x00cf9b000000ffff	/* CS32: flat */
#ifdef __x86_64__
	.quad	0x00af9b000000ffff	/* BOOT_CS: 64-bit */
#else
	.quad	0x00cf9b000000ffff	/* BOOT_CS: flat */
#endif
	.quad	0x00cf93000000ffff	/* BOOT_DS: flat */
\name\()_pointer:
	.word	\name\()_pointer - \name - 1
	.quad	0
	.endm
