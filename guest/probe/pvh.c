/* What PVH hands over: struct hvm_start_info of Xen's public/arch-x86/hvm/start_info.h. */
#include "probe.h"

struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
	uint64_t memmap_paddr; /* from version 1 on */
	uint32_t memmap_entries, reserved;
};

struct hvm_modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_table_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

void report_pvh(uint64_t address)
{
	const struct hvm_start_info *info = at(address);

	line_hex("", "start_info", address);
	line_hex("start_info.", "magic", info->magic);
	line_decimal("start_info.", "version", info->version);
	line_hex("start_info.", "flags", info->flags);
	line_decimal("start_info.", "nr_modules", info->nr_modules);
	line_hex("start_info.", "modlist_paddr", info->modlist_paddr);
	line_hex("start_info.", "rsdp_paddr", info->rsdp_paddr);
	if (info->version >= 1) {
		const struct hvm_memmap_table_entry *map = at(info->memmap_paddr);

		line_hex("start_info.", "memmap_paddr", info->memmap_paddr);
		if (map_memory(info->memmap_paddr, (uint64_t)info->memmap_entries * sizeof *map))
			for (unsigned i = 0; i < info->memmap_entries; i++)
				line_memory(map[i].addr, map[i].size, map[i].type);
	}
	line_string("command_line", info->cmdline_paddr);
	const struct hvm_modlist_entry *module = at(info->modlist_paddr);
	if (info->nr_modules && map_memory(info->modlist_paddr, sizeof *module)) {
		line_string("initrd.command_line", module->cmdline_paddr);
		line_initrd(module->paddr, module->size);
	} else {
		line_initrd(0, 0);
	}
}
