#include "bios.h"
#include "setup.h"

static int can_toggle(uint32_t flag)
{
	uint32_t before, after;

	__asm__ volatile("pushfl; pushfl; popl %0; movl %0, %1; xorl %2, %1; pushl %1; popfl; pushfl; popl %1; popfl"
			 : "=&r"(before), "=&r"(after)
			 : "ri"(flag));
	return ((before ^ after) & flag) != 0;
}

static void cpuid(uint32_t leaf, uint32_t *eax, uint32_t *edx)
{
	uint32_t ebx, ecx = 0;

	*eax = leaf;
	__asm__ volatile("cpuid" : "+a"(*eax), "=b"(ebx), "+c"(ecx), "=d"(*edx));
}

unsigned check_processor(void)
{
	enum { EXTENDED = 0x80000000, LONG_MODE = 1 << 29 };
	unsigned family = can_toggle(EFLAGS_AC) ? 4 : 3;
	int long_mode = 0;

	if (can_toggle(EFLAGS_ID)) {
		uint32_t eax, edx;

		cpuid(1, &eax, &edx);
		family = eax >> 8 & 15;
		if (family == 15)
			family += eax >> 20 & 0xff;
		cpuid(EXTENDED, &eax, &edx);
		if (eax > EXTENDED && eax <= EXTENDED + 0xffff) {
			cpuid(EXTENDED + 1, &eax, &edx);
			long_mode = (edx & LONG_MODE) != 0;
		}
	}
	if (boot_params.hdr.xloadflags & XLF_KERNEL_64 && !long_mode)
		die("it is a 64-bit one, and the processor is not");
	return family;
}
