/*
 * The processor's state as the probe found it, saved by the entry code before it uses anything. One 8-byte slot each,
 * shared by assembly (offsets) and C (struct entry_state).
 */
#pragma once

#define PROTOCOL_LINUX32 1
#define PROTOCOL_LINUX64 2
#define PROTOCOL_PVH 3
#define PROTOCOL_MULTIBOOT 4
#define PROTOCOL_XEN_PV 5

#define S_PROTOCOL 0x00
#define S_AX 0x08
#define S_BX 0x10
#define S_CX 0x18
#define S_DX 0x20
#define S_SI 0x28
#define S_DI 0x30
#define S_BP 0x38
#define S_SP 0x40
#define S_R8 0x48
#define S_IP 0x88
#define S_FLAGS 0x90
#define S_CS 0x98
#define S_DS 0xa0
#define S_ES 0xa8
#define S_FS 0xb0
#define S_GS 0xb8
#define S_SS 0xc0
#define S_TR 0xc8
#define S_LDTR 0xd0
#define S_CR0 0xd8
#define S_CR2 0xe0
#define S_CR3 0xe8
#define S_CR4 0xf0
#define S_GDTR 0xf8
#define S_IDTR 0x108
#define S_EFER 0x118
#define S_BSS_REST 0x120
#define S_SIZE 0x128

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct table_register {
	uint16_t limit;
	uint64_t base;
	uint8_t unused[6];
} __attribute__((packed));

struct entry_state {
	uint64_t protocol;
	uint64_t ax, bx, cx, dx, si, di, bp, sp;
	uint64_t r8_to_r15[8];
	uint64_t ip, flags;
	uint64_t cs, ds, es, fs, gs, ss, tr, ldtr;
	uint64_t cr0, cr2, cr3, cr4;
	struct table_register gdtr, idtr;
	uint64_t efer;     /* 64-bit probe only: the processor may not have it */
	uint64_t bss_rest; /* bytes of bss from the first that was not zero on; 0 if all were */
};
_Static_assert(offsetof(struct entry_state, r8_to_r15) == S_R8, "S_R8");
_Static_assert(offsetof(struct entry_state, flags) == S_FLAGS, "S_FLAGS");
_Static_assert(offsetof(struct entry_state, cr0) == S_CR0, "S_CR0");
_Static_assert(offsetof(struct entry_state, gdtr) == S_GDTR, "S_GDTR");
_Static_assert(offsetof(struct entry_state, idtr) == S_IDTR, "S_IDTR");
_Static_assert(offsetof(struct entry_state, efer) == S_EFER, "S_EFER");
_Static_assert(sizeof(struct entry_state) == S_SIZE, "S_SIZE");

extern struct entry_state entry_state __attribute__((visibility("hidden")));
#endif
