/* Real mode: BIOS calls, memory outside the segment, ports, text. */
#pragma once

#include "io.h"

/* In the order of bios.S: as pusha leaves them, then the segment registers and the flags. */
struct bios_registers {
	union { uint32_t edi; uint16_t di; };
	union { uint32_t esi; uint16_t si; };
	uint32_t ebp;
	uint32_t unused_esp;
	union { uint32_t ebx; uint16_t bx; struct { uint8_t bl, bh; }; };
	union { uint32_t edx; uint16_t dx; struct { uint8_t dl, dh; }; };
	union { uint32_t ecx; uint16_t cx; struct { uint8_t cl, ch; }; };
	union { uint32_t eax; uint16_t ax; struct { uint8_t al, ah; }; };
	uint16_t gs, fs, es, ds;
	uint32_t eflags;
};
_Static_assert(sizeof(struct bios_registers) == 44, "bios.S copies 44 bytes");

#define EFLAGS_CF 0x00001
#define EFLAGS_AC 0x40000
#define EFLAGS_ID 0x200000

void bios_call(uint8_t vector, struct bios_registers *registers);

/* All zero, our own data segment, and carry set, so that a call that no BIOS answers looks like a failed one. */
void bios_registers_init(struct bios_registers *registers);

static inline uint16_t data_segment(void)
{
	uint16_t segment;
	__asm__("movw %%ds, %0" : "=r"(segment));
	return segment;
}

static inline uint8_t peek8(uint16_t segment, uint16_t offset)
{
	uint8_t value;
	__asm__ volatile("movw %1, %%fs; movb %%fs:(%2), %0" : "=q"(value) : "r"(segment), "r"((uint32_t)offset));
	return value;
}

static inline uint32_t peek32(uint16_t segment, uint16_t offset)
{
	uint32_t value;
	__asm__ volatile("movw %1, %%fs; movl %%fs:(%2), %0" : "=r"(value) : "r"(segment), "r"((uint32_t)offset));
	return value;
}

static inline void poke32(uint16_t segment, uint16_t offset, uint32_t value)
{
	__asm__ volatile("movw %1, %%fs; movl %0, %%fs:(%2)"
			 :
			 : "r"(value), "r"(segment), "r"((uint32_t)offset)
			 : "memory");
}

/* About a microsecond: a write to the port of the power-on self test. */
static inline void io_delay(void)
{
	outb(0, 0x80);
}

void print(const char *text);

/* Prints why the kernel cannot be started, and halts. */
void die(const char *why) __attribute__((noreturn));
