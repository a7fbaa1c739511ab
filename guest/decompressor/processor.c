/*
 * What a 32-bit processor may or may not have.
 */
#include "decompressor.h"

#define EFLAGS_ID 0x200000
#define CPUID_FXSR_BIT 24
#define CPUID_SSE2_BIT 26
#define CR0_MP 0x02u
#define CR0_EM 0x04u
#define CR0_TS 0x08u
#define CR4_OSFXSR 0x200u

int has_cpuid(void)
{
	uint32_t before, after;

	__asm__("pushfl; popl %0; movl %0, %1; xorl %2, %1; pushl %1; popfl; pushfl; popl %1; pushl %0; popfl"
		: "=&r"(before), "=&r"(after)
		: "i"(EFLAGS_ID)
		: "cc");
	return !!((before ^ after) & EFLAGS_ID);
}

int enable_sse2(void)
{
	uint32_t eax = 1, ebx, ecx, edx, cr;

	if (!has_cpuid())
		return 0;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	if (!(edx >> CPUID_FXSR_BIT & 1) || !(edx >> CPUID_SSE2_BIT & 1))
		return 0;
	__asm__ volatile("movl %%cr0, %0" : "=r"(cr));
	__asm__ volatile("movl %0, %%cr0" : : "r"((cr & ~(CR0_EM | CR0_TS)) | CR0_MP));
	__asm__ volatile("movl %%cr4, %0" : "=r"(cr));
	__asm__ volatile("movl %0, %%cr4" : : "r"(cr | CR4_OSFXSR));
	return 1;
}

/* CR4 exists since CPUID does. */
void disable_sse2(void)
{
	uint32_t cr;

	if (!has_cpuid())
		return;
	__asm__ volatile("movl %%cr4, %0" : "=r"(cr));
	__asm__ volatile("movl %0, %%cr4" : : "r"(cr & ~CR4_OSFXSR));
}
