/* What Multiboot (0.6.96) hands over: multiboot_info. */
#include "probe.h"

enum { HAS_MEMORY = 1 << 0, HAS_CMDLINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MEMORY_MAP = 1 << 6, HAS_LOADER = 1 << 9 };

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr, config_table, boot_loader_name;
};

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

/* `size` counts the bytes after itself. */
struct multiboot_memory {
	uint32_t size;
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

void report_multiboot(uint64_t address)
{
	const struct multiboot_info *info = at(address);

	line_hex("", "multiboot_info", address);
	line_hex("multiboot_info.", "flags", info->flags);
	if (info->flags & HAS_MEMORY) {
		line_decimal("multiboot_info.", "mem_lower", info->mem_lower);
		line_decimal("multiboot_info.", "mem_upper", info->mem_upper);
	}
	if (info->flags & HAS_LOADER)
		line_string("multiboot_info.boot_loader_name", info->boot_loader_name);
	if (info->flags & HAS_MEMORY_MAP) {
		uint32_t entry = info->mmap_addr, end = entry + info->mmap_length;

		while (entry < end) {
			const struct multiboot_memory *memory = at(entry);

			line_memory(memory->addr, memory->len, memory->type);
			entry += memory->size + sizeof memory->size;
		}
	}
	line_string("command_line", info->flags & HAS_CMDLINE ? info->cmdline : 0);
	const struct multiboot_module *module = at(info->mods_addr);
	if (info->flags & HAS_MODULES && info->mods_count) {
		line_string("initrd.command_line", module->string);
		line_initrd(module->start, module->end - module->start);
	} else {
		line_initrd(0, 0);
	}
}
