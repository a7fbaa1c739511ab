#include "bios.h"

void bios_registers_init(struct bios_registers *registers)
{
	uint32_t *word = (uint32_t *)registers;

	for (unsigned i = 0; i < sizeof *registers / 4; i++)
		word[i] = 0;
	registers->ds = registers->es = registers->fs = registers->gs = data_segment();
	registers->eflags = EFLAGS_CF;
}

void print(const char *text)
{
	struct bios_registers r;

	for (; *text; text++) {
		bios_registers_init(&r);
		r.ah = 0x0e;
		r.al = *text;
		r.bx = 7;
		bios_call(0x10, &r);
	}
}

void die(const char *why)
{
	print("\r\nCannot start the kernel: ");
	print(why);
	print(".\r\n");
	for (;;)
		__asm__ volatile("hlt");
}
