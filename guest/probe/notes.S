/* ELF notes: PVH (both sizes) and, in 64 bit, Xen PV. Numbers from Xen's public/elfnote.h. */
#include "layout.h"

	.macro	note type, value:vararg
	.balign	4
	.long	2f - 1f, 4f - 3f, \type
1:	.asciz	"Xen"
2:	.balign	4
3:	\value
4:	.balign	4
	.endm

	.section .notes, "a", @note
#ifdef __x86_64__
	note	1, .quad xen_entry			/* ENTRY */
	note	2, .quad hypercall_page			/* HYPERCALL_PAGE */
	note	3, .quad VIRTUAL_OFFSET			/* VIRT_BASE */
	note	4, .quad 0				/* PADDR_OFFSET */
	note	5, .asciz "xen-3.0"			/* XEN_VERSION */
	note	6, .asciz "bzelf-probe"			/* GUEST_OS */
	note	8, .asciz "generic"			/* LOADER */
	note	9, .asciz "yes"				/* PAE_MODE */
	note	10, .asciz "writable_page_tables|pae_pgdir_above_4gb"	/* FEATURES */
	note	17, .long 1 << 11			/* SUPPORTED_FEATURES: dom0 */
	note	18, .quad pvh_entry - VIRTUAL_OFFSET	/* PHYS32_ENTRY */
#else
	note	18, .long pvh_entry - VIRTUAL_OFFSET	/* PHYS32_ENTRY */
#endif
