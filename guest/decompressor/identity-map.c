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

#define MAX_SETUP_DATA 256 /* a longer list is a loop */

static uint64_t *top;
static uint8_t *next_table, *tables_end;
static unsigned levels;

static uint64_t *new_table(void)
{
	uint8_t *table = next_table;

	if (table == tables_end)
		refuse("no memory left for page tables");
	next_table += PAGE;
	fill_zero(table, PAGE);
	return (uint64_t *)table;
}

static void load_tables(void)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(top) : "memory");
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
	uint64_t initrd, size, cr4;

	/* The first pages may hold the tables in use, which the 32-bit entry made. */
	next_table = (uint8_t *)(buffer_end - PAGE_TABLES_SIZE + EARLY_TABLES_SIZE);
	tables_end = (uint8_t *)buffer_end;
	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	levels = cr4 & CR4_LA57 ? 5 : 4;
	top = new_table();

	identity_map(0, 0x100000);
	identity_map(buffer, buffer_end);
	identity_map((uintptr_t)boot_params, (uintptr_t)(boot_params + 1));
	if (line)
		identity_map(line, line + boot_params->hdr.cmdline_size + 1);
	load_tables();

	map_setup_data();
	initrd = boot_params->hdr.ramdisk_image;
	size = boot_params->hdr.ramdisk_size;
	if (!boot_params->sentinel) {
		initrd |= (uint64_t)boot_params->ext_ramdisk_image << 32;
		size |= (uint64_t)boot_params->ext_ramdisk_size << 32;
	}
	if (initrd && size)
		identity_map(initrd, initrd + size);
}

unsigned paging_levels(void)
{
	return levels;
}

/* The top of tables with one level more or less, which map the same; they may lie anywhere. */
static uint64_t *other_top(void)
{
	uint64_t *table;

	if (levels == 5)
		return (uint64_t *)ADDRESS(top[0]);
	table = new_table();
	table[0] = (uint64_t)top | TABLE_FLAGS;
	return table;
}

void switch_paging_levels(uint8_t *low_memory)
{
	uint64_t *next = other_top();
	void (*switch_levels)(uint8_t *) = (void (*)(uint8_t *))low_memory;

	copy_forwards(low_memory, trampoline, (size_t)(trampoline_end - trampoline));
	copy_forwards(low_memory + PAGE, next, PAGE);
	switch_levels(low_memory + PAGE);
	levels ^= 4 ^ 5;
	top = next;
	load_tables();
}
