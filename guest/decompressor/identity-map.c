/*
 * Identity-mapped page tables for everything that the decompressor and the kernel's first instructions touch: the
 * boot loader's tables need not cover more than the image, boot_params and the command line, and may lie anywhere.
 * Two-megabyte pages; tables come from the end of the init_size bytes.
 */
#include "bytes.h"
#include "decompressor.h"

#define PAGE 0x1000ul
#define LARGE_PAGE 0x200000ul
#define TABLE_FLAGS 0x3	 /* present, writable */
#define LARGE_FLAGS 0x83 /* and a large page */
#define ADDRESS(entry) ((entry) & 0x000ffffffffff000ul)

#define CR4_LA57 (1ul << 12)
#define CPUID_LA57_BIT 16

#define MAX_SETUP_DATA 256 /* a longer list is a loop */

void switch_paging_levels(void *page_tables);

static uint64_t *top;
static uint8_t *next_table, *tables_end;
static unsigned levels;

static uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value));
	return value;
}

static uint64_t *new_table(void)
{
	uint8_t *table = next_table;

	if (table == tables_end)
		refuse("no memory left for page tables");
	next_table += PAGE;
	fill_zero(table, PAGE);
	return (uint64_t *)table;
}

static void map_large_page(uint64_t address)
{
	uint64_t *table = top;

	for (unsigned level = levels; level > 2; level--) {
		uint64_t *entry = &table[(address >> (9 * level + 3)) & 511];

		if (!*entry)
			*entry = (uint64_t)new_table() | TABLE_FLAGS;
		table = (uint64_t *)ADDRESS(*entry);
	}
	table[(address >> 21) & 511] = address | LARGE_FLAGS;
}

void identity_map(uintptr_t start, uintptr_t end)
{
	for (uintptr_t page = start & -LARGE_PAGE; page < end; page += LARGE_PAGE)
		map_large_page(page);
}

/* Each element has to be mapped before it can be read. */
static void map_setup_data(void)
{
	uint64_t address = boot_params->hdr.setup_data;

	for (unsigned i = 0; address && i < MAX_SETUP_DATA; i++) {
		const struct setup_data *data = (const struct setup_data *)address;

		identity_map(address, address + sizeof *data);
		identity_map(address, address + sizeof *data + data->len);
		if (data->type == SETUP_INDIRECT && data->len >= sizeof(struct setup_indirect)) {
			const struct setup_indirect *indirect = (const struct setup_indirect *)(data + 1);

			identity_map(indirect->addr, indirect->addr + indirect->len);
		}
		address = data->next;
	}
}

void identity_map_init(uintptr_t buffer)
{
	uintptr_t buffer_end = buffer + parameters.init_size;
	uint64_t line = command_line_pointer();
	uint64_t image, size;

	/* The first pages may hold the tables in use, which the 32-bit entry made. */
	next_table = (uint8_t *)(buffer_end - PAGE_TABLES_SIZE + EARLY_TABLES_SIZE);
	tables_end = (uint8_t *)buffer_end;
	levels = read_cr4() & CR4_LA57 ? 5 : 4;
	top = new_table();

	identity_map(0, 0x100000);
	identity_map(buffer, buffer_end);
	identity_map((uintptr_t)boot_params, (uintptr_t)(boot_params + 1));
	if (line)
		identity_map(line, line + boot_params->hdr.cmdline_size + 1);
	__asm__ volatile("movq %0, %%cr3" : : "r"(top) : "memory");

	map_setup_data();
	image = boot_params->hdr.ramdisk_image;
	size = boot_params->hdr.ramdisk_size;
	if (!boot_params->sentinel) {
		image |= (uint64_t)boot_params->ext_ramdisk_image << 32;
		size |= (uint64_t)boot_params->ext_ramdisk_size << 32;
	}
	if (image && size)
		identity_map(image, image + size);
}

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

/* Five levels if processor and kernel have them and nobody objects; four if the kernel cannot take five. */
void choose_paging_levels(void)
{
	unsigned flags = parameters.flags;
	uint64_t *wanted;

	if (levels == 5) {
		if (flags & FLAG_LA57_CAPABLE && !command_line_has("no5lvl"))
			return;
	} else if (!(flags & FLAG_LA57_WANTED) || command_line_has("no5lvl") || !processor_has_la57()) {
		return;
	}
	if ((uintptr_t)tables_end > 0x100000000) {
		if (levels == 5 && !(flags & FLAG_LA57_CAPABLE))
			refuse("it cannot run with five paging levels, nor can they be turned off above 4 GiB");
		return;
	}
	if (levels == 5) {
		wanted = (uint64_t *)ADDRESS(top[0]);
	} else {
		wanted = new_table();
		wanted[0] = (uint64_t)top | TABLE_FLAGS;
	}
	switch_paging_levels(wanted);
	levels ^= 4 ^ 5;
	top = wanted;
}
