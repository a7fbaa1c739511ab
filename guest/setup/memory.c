/* How much memory there is: the BIOS's address map, and the two older calls that count from 1 MiB. */
#include "bios.h"
#include "setup.h"

static void detect_e820(void)
{
	enum { SMAP = 0x534d4150 };
	struct boot_e820_entry entry; /* int 15h writes here: the table's own entries may straddle what a BIOS can write */
	uint8_t *byte = (uint8_t *)&entry;
	struct bios_registers r;
	uint32_t next = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < sizeof entry; i++)
		byte[i] = 0;
	do {
		bios_registers_init(&r);
		r.eax = 0xe820;
		r.ebx = next;
		r.ecx = sizeof entry;
		r.edx = SMAP;
		r.di = (uint16_t)(uint32_t)&entry;
		bios_call(0x15, &r);
		/* some BIOSes end the list with carry instead of ebx = 0 */
		if (r.eflags & EFLAGS_CF)
			break;
		/* a BIOS that forgets the answer's signature half way cannot be believed at all */
		if (r.eax != SMAP) {
			count = 0;
			break;
		}
		next = r.ebx;
		boot_params.e820_table[count++] = entry;
	} while (next && count < E820_MAX_ENTRIES);
	boot_params.e820_entries = count;
}

static void detect_e801(void)
{
	enum { BELOW_16M = 15 * 1024 };
	struct bios_registers r;

	bios_registers_init(&r);
	r.ax = 0xe801;
	bios_call(0x15, &r);
	if (r.eflags & EFLAGS_CF)
		return;
	/* two pairs of registers for the same thing, and BIOSes that fill in only one of them */
	uint16_t below = r.cx || r.dx ? r.cx : r.ax; /* KiB between 1 and 16 MiB */
	uint16_t above = r.cx || r.dx ? r.dx : r.bx; /* 64 KiB blocks above 16 MiB */
	if (below == BELOW_16M)
		boot_params.alt_mem_k = ((uint32_t)above << 6) + below;
	else if (below < BELOW_16M)
		boot_params.alt_mem_k = below; /* a hole below 16 MiB: what is above it does not count */
}

static void detect_88(void)
{
	struct bios_registers r;

	bios_registers_init(&r);
	r.ah = 0x88;
	bios_call(0x15, &r);
	boot_params.screen_info.ext_mem_k = r.ax;
}

void detect_memory(void)
{
	detect_e820();
	detect_e801();
	detect_88();
}
