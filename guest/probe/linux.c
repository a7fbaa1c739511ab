/* What the Linux boot protocol hands over: the zero page. */
#include "probe.h"

enum { LONGEST_LIST = 64 };

static void report_header(const struct setup_header *hdr)
{
	line_decimal("hdr.", "setup_sects", hdr->setup_sects);
	line_hex("hdr.", "boot_flag", hdr->boot_flag);
	line_hex("hdr.", "header", hdr->header);
	line_hex("hdr.", "version", hdr->version);
	line_hex("hdr.", "type_of_loader", hdr->type_of_loader);
	line_hex("hdr.", "ext_loader_type", hdr->ext_loader_type);
	line_hex("hdr.", "ext_loader_ver", hdr->ext_loader_ver);
	line_hex("hdr.", "loadflags", hdr->loadflags);
	line_hex("hdr.", "vid_mode", hdr->vid_mode);
	line_hex("hdr.", "root_dev", hdr->root_dev);
	line_hex("hdr.", "syssize", hdr->syssize);
	line_hex("hdr.", "code32_start", hdr->code32_start);
	line_hex("hdr.", "ramdisk_image", hdr->ramdisk_image);
	line_hex("hdr.", "ramdisk_size", hdr->ramdisk_size);
	line_hex("hdr.", "heap_end_ptr", hdr->heap_end_ptr);
	line_hex("hdr.", "cmd_line_ptr", hdr->cmd_line_ptr);
	line_hex("hdr.", "initrd_addr_max", hdr->initrd_addr_max);
	line_hex("hdr.", "kernel_alignment", hdr->kernel_alignment);
	line_hex("hdr.", "relocatable_kernel", hdr->relocatable_kernel);
	line_hex("hdr.", "min_alignment", hdr->min_alignment);
	line_hex("hdr.", "xloadflags", hdr->xloadflags);
	line_hex("hdr.", "cmdline_size", hdr->cmdline_size);
	line_hex("hdr.", "hardware_subarch", hdr->hardware_subarch);
	line_hex("hdr.", "payload_offset", hdr->payload_offset);
	line_hex("hdr.", "payload_length", hdr->payload_length);
	line_hex("hdr.", "setup_data", hdr->setup_data);
	line_hex("hdr.", "pref_address", hdr->pref_address);
	line_hex("hdr.", "init_size", hdr->init_size);
	line_hex("hdr.", "handover_offset", hdr->handover_offset);
	line_hex("hdr.", "kernel_info_offset", hdr->kernel_info_offset);
}

static void report_setup_data(uint64_t address)
{
	for (unsigned i = 0; address && i < LONGEST_LIST; i++) {
		if (!map_memory(address, sizeof(struct setup_data))) {
			line_text("", "setup_data", "out of reach");
			return;
		}
		const struct setup_data *node = at(address);
		begin_line("", "setup_data");
		print_hex(address);
		print_char(' ');
		print_hex(node->type);
		print_char(' ');
		print_hex(node->len);
		end_line();
		address = node->next;
	}
}

void report_boot_params(uint64_t address)
{
	line_hex("", "boot_params", address);
	if (!map_memory(address, sizeof(struct boot_params))) {
		line_text("boot_params.", "error", "out of reach");
		return;
	}
	const struct boot_params *params = at(address);
	const struct screen_info *screen = &params->screen_info;

	line_hex("boot_params.", "sentinel", params->sentinel);
	line_hex("boot_params.", "acpi_rsdp_addr", params->acpi_rsdp_addr);
	line_hex("boot_params.", "ext_mem_k", screen->ext_mem_k);
	line_hex("boot_params.", "alt_mem_k", params->alt_mem_k);
	line_hex("boot_params.", "kbd_status", params->kbd_status);
	line_hex("boot_params.", "secure_boot", params->secure_boot);
	line_decimal("boot_params.", "eddbuf_entries", params->eddbuf_entries);
	line_decimal("boot_params.", "edd_mbr_sig_buf_entries", params->edd_mbr_sig_buf_entries);
	line_hex("boot_params.", "edd_mbr_sig_buffer", params->edd_mbr_sig_buffer[0]);
	line_hex("boot_params.", "edid_info", *(const uint64_t *)params->edid_info);
	line_hex("boot_params.", "efi_loader_signature", params->efi_info.efi_loader_signature);
	line_decimal("screen_info.", "orig_video_mode", screen->orig_video_mode);
	line_decimal("screen_info.", "orig_video_cols", screen->orig_video_cols);
	line_decimal("screen_info.", "orig_video_lines", screen->orig_video_lines);
	line_decimal("screen_info.", "orig_video_isVGA", screen->orig_video_isVGA);
	line_decimal("screen_info.", "orig_video_points", screen->orig_video_points);
	report_header(&params->hdr);
	report_setup_data(params->hdr.setup_data);
	for (unsigned i = 0; i < params->e820_entries && i < E820_MAX_ENTRIES; i++)
		line_memory(params->e820_table[i].addr, params->e820_table[i].size, params->e820_table[i].type);
	line_string("command_line", (uint64_t)params->ext_cmd_line_ptr << 32 | params->hdr.cmd_line_ptr);
	line_initrd((uint64_t)params->ext_ramdisk_image << 32 | params->hdr.ramdisk_image,
		    (uint64_t)params->ext_ramdisk_size << 32 | params->hdr.ramdisk_size);
}
