/*
 * The tail's work in order: decompress the kernel, put its segments where its program headers say, and give its
 * entry point to the assembler code that called us. The image has already been moved to the end of its buffer.
 */
#include "bytes.h"
#include "decompressor.h"

struct boot_params *boot_params;
const uint8_t *image;
struct parameters parameters;

/* Our memory lies behind the kernel's, so that a command line here lasts until the kernel has read it. */
static char default_command_line[MAX_COMMAND_LINE + 1] __attribute__((section(".workspace,\"aw\",@nobits#")));

static void supply_command_line(void)
{
	uint64_t address = (uintptr_t)default_command_line;
	const char *text = (const char *)image + parameters.command_line_offset;
	unsigned length = 0;

	if (!parameters.command_line_offset || *command_line())
		return;
	while (length < MAX_COMMAND_LINE && text[length])
		length++;
	copy_forwards(default_command_line, text, length);
	default_command_line[length] = 0;
	boot_params->hdr.cmd_line_ptr = (uint32_t)address;
	if (!boot_params->sentinel)
		boot_params->ext_cmd_line_ptr = (uint32_t)(address >> 32);
}

/* It lies behind everything that is decompressed: init_size says so. */
static void supply_initrd(void)
{
	uint64_t address = (uintptr_t)image + parameters.initrd_offset;

	if (!parameters.initrd_size || boot_params->hdr.ramdisk_size)
		return;
	boot_params->hdr.ramdisk_image = (uint32_t)address;
	boot_params->hdr.ramdisk_size = parameters.initrd_size;
	if (!boot_params->sentinel) {
		boot_params->ext_ramdisk_image = (uint32_t)(address >> 32);
		boot_params->ext_ramdisk_size = 0;
	}
}

uintptr_t extract_kernel(struct boot_params *given_boot_params, const uint8_t *given_image, uintptr_t buffer)
{
	const struct parameters *p = &parameters;
	const uint8_t *file;
	uintptr_t output = buffer, virtual_address;

	boot_params = given_boot_params;
	image = given_image;
	parameters = *(const struct parameters *)(image + PARAMETERS_AT);
	virtual_address = p->load_physical_addr;

#ifdef __x86_64__
	identity_map_init(buffer);
	choose_paging_levels();
#endif
	supply_command_line();
	supply_initrd();

	boot_params->hdr.loadflags &= ~KASLR_FLAG;
	if ((p->flags & FLAG_KASLR) && !command_line_has("nokaslr")) {
		boot_params->hdr.loadflags |= KASLR_FLAG;
		choose_random_location(&output, &virtual_address);
		identity_map(output, output + p->output_size);
	}
#ifndef __x86_64__
	virtual_address = output; /* one move for both */
#endif

	file = unpack_kernel((uint8_t *)output);
	return place_kernel(file, (uint8_t *)output, virtual_address);
}
