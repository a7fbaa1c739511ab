/*
 * Four or five paging levels: a kernel that can take five gets them if the processor has them and the command line
 * does not say no5lvl; one that cannot is freed of those that the boot loader left on.
 */
#include "bytes.h"
#include "decompressor.h"

#define PAGE 0x1000ul
#define CPUID_LA57_BIT 16
/* Low memory as a BIOS leaves it: the extended BIOS data area, at the segment that 0x40e holds, ends it. */
#define EBDA_SEGMENT_AT 0x40e
#define EBDA_LOWEST 0x20000ul
#define EBDA_HIGHEST 0x9f000ul

static uint8_t saved[LOW_MEMORY_SIZE] __attribute__((section(".workspace,\"aw\",@nobits#")));

static int processor_has_la57(void)
{
	uint32_t eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (eax < 7)
		return 0;
	eax = 7;
	ecx = 0;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ecx >> CPUID_LA57_BIT & 1;
}

static int is_ram(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < boot_params->e820_entries && i < E820_MAX_ENTRIES; i++) {
		const struct boot_e820_entry *entry = &boot_params->e820_table[i];

		if (entry->type == E820_RAM && entry->addr <= start && end <= entry->addr + entry->size)
			return 1;
	}
	return 0;
}

static uint8_t *find_low_memory(void)
{
	const uint8_t *bios_data = (const uint8_t *)EBDA_SEGMENT_AT;
	uintptr_t at;

	__asm__("" : "+r"(bios_data)); /* an address like any other */
	at = (uintptr_t)load16(bios_data) << 4;

	if (at < EBDA_LOWEST || at > EBDA_HIGHEST)
		at = EBDA_HIGHEST;
	for (at = (at & -PAGE) - LOW_MEMORY_SIZE; at >= PAGE; at -= PAGE)
		if (is_ram(at, at + LOW_MEMORY_SIZE))
			return (uint8_t *)at;
	return 0;
}

void choose_paging_levels(void)
{
	int wanted = (parameters.flags & FLAG_LA57) && !command_line_has("no5lvl") && processor_has_la57();
	uint8_t *low_memory;

	if (paging_levels() == (wanted ? 5 : 4))
		return;
	low_memory = find_low_memory();
	if (!low_memory) {
		if (wanted || parameters.flags & FLAG_LA57)
			return; /* it can do with what there is */
		refuse("no low memory to turn off the fifth paging level, which it cannot use");
	}
	/* Whatever lies there, boot_params maybe, comes back unharmed. */
	copy_forwards(saved, low_memory, LOW_MEMORY_SIZE);
	switch_paging_levels(low_memory);
	copy_forwards(low_memory, saved, LOW_MEMORY_SIZE);
}
