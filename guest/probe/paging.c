/* Physical memory, readable at its own address, on whatever the entry left behind. */
#include "probe.h"

#ifndef __x86_64__

/* No paging: everything below 4 GiB is there. */
int map_memory(uint64_t start, uint64_t size)
{
	return start + size <= 0x100000000;
}

#else

enum { PRESENT_WRITABLE = 3, LARGE = 0x80, CR4_LA57 = 0x1000, LARGE_SHIFT = 21, GIB_SHIFT = 30 };
enum { FIRST_SPARE = 6 }; /* the top table, its first entry's table, and 4 GiB of 2 MiB pages */

extern uint64_t page_tables[PAGE_TABLE_PAGES][512] __attribute__((visibility("hidden")));

static unsigned used; /* page tables in use; 0 before ours are installed */

static void fill_gib(uint64_t *table, uint64_t gib)
{
	for (unsigned i = 0; i < 512; i++)
		table[i] = (gib << GIB_SHIFT | (uint64_t)i << LARGE_SHIFT) + (PRESENT_WRITABLE | LARGE);
}

static uint64_t entry_for(const void *table)
{
	return (uintptr_t)table + PRESENT_WRITABLE;
}

static int map_gib(uint64_t gib)
{
	if (gib >= 512)
		return 0; /* one top-level entry is enough for a test instrument */
	if (page_tables[1][gib])
		return 1;
	if (used == PAGE_TABLE_PAGES)
		return 0;
	fill_gib(page_tables[used], gib);
	page_tables[1][gib] = entry_for(page_tables[used++]);
	return 1;
}

/*
 * The loader's tables map what its protocol demands and perhaps no more; ours begin with the first 4 GiB and wherever
 * this program is.
 */
static void install(void)
{
	used = FIRST_SPARE;
	page_tables[0][0] = entry_for(page_tables[1]);
	for (unsigned gib = 0; gib < 4; gib++) {
		fill_gib(page_tables[2 + gib], gib);
		page_tables[1][gib] = entry_for(page_tables[2 + gib]);
	}
	map_gib((uintptr_t)page_tables >> GIB_SHIFT);
	uint64_t *top = page_tables[0];
	if (entry_state.cr4 & CR4_LA57) {
		top = page_tables[used++];
		top[0] = entry_for(page_tables[0]);
	}
	__asm__ volatile("mov %0, %%cr3" : : "r"(top) : "memory");
}

int map_memory(uint64_t start, uint64_t size)
{
	if (entry_state.protocol == PROTOCOL_XEN_PV)
		return 1; /* Xen maps what it hands over */
	if (!used)
		install();
	if (!size || start + size < start)
		return 0;
	for (uint64_t gib = start >> GIB_SHIFT; gib <= (start + size - 1) >> GIB_SHIFT; gib++)
		if (!map_gib(gib))
			return 0;
	return 1;
}

#endif
