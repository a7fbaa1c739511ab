/*
 * The zero page: Documentation/arch/x86/zero-page.rst and boot.rst (protocol 2.15), names as there.
 * Everything is little-endian and unaligned; the asserts below pin the offsets that the documents give.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HDRS_MAGIC 0x53726448 /* "HdrS" */

/* loadflags */
#define LOADED_HIGH 0x01
#define KASLR_FLAG 0x02
#define QUIET_FLAG 0x20
#define CAN_USE_HEAP 0x80

/* xloadflags */
#define XLF_KERNEL_64 0x01
#define XLF_CAN_BE_LOADED_ABOVE_4G 0x02

/* old command line protocol, before 2.02: magic and offset at 0x20 and 0x22 of the real-mode segment */
#define OLD_CL_MAGIC 0xa33f
#define OLD_CL_MAGIC_AT 0x20
#define OLD_CL_OFFSET_AT 0x22

#define E820_MAX_ENTRIES 128
#define E820_RAM 1

struct setup_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize;
	uint16_t ram_size;
	uint16_t vid_mode;
	uint16_t root_dev;
	uint16_t boot_flag;
	uint16_t jump;
	uint32_t header;
	uint16_t version;
	uint32_t realmode_swtch;
	uint16_t start_sys_seg;
	uint16_t kernel_version;
	uint8_t type_of_loader;
	uint8_t loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start;
	uint32_t ramdisk_image;
	uint32_t ramdisk_size;
	uint32_t bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver;
	uint8_t ext_loader_type;
	uint32_t cmd_line_ptr;
	uint32_t initrd_addr_max;
	uint32_t kernel_alignment;
	uint8_t relocatable_kernel;
	uint8_t min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size;
	uint32_t hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset;
	uint32_t payload_length;
	uint64_t setup_data;
	uint64_t pref_address;
	uint32_t init_size;
	uint32_t handover_offset;
	uint32_t kernel_info_offset;
} __attribute__((packed));

struct screen_info {
	uint8_t orig_x;
	uint8_t orig_y;
	uint16_t ext_mem_k;
	uint16_t orig_video_page;
	uint8_t orig_video_mode;
	uint8_t orig_video_cols;
	uint8_t flags;
	uint8_t unused2;
	uint16_t orig_video_ega_bx;
	uint16_t unused3;
	uint8_t orig_video_lines;
	uint8_t orig_video_isVGA;
	uint16_t orig_video_points;
	uint8_t linear_frame_buffer[0x40 - 0x12]; /* not ours: only graphics modes fill it */
} __attribute__((packed));

/* screen_info.flags */
#define VIDEO_FLAGS_NOCURSOR 0x01

struct ist_info {
	uint32_t signature;
	uint32_t command;
	uint32_t event;
	uint32_t perf_level;
} __attribute__((packed));

struct boot_e820_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
} __attribute__((packed));

struct efi_info {
	uint32_t efi_loader_signature;
	uint32_t efi_systab;
	uint32_t efi_memdesc_size;
	uint32_t efi_memdesc_version;
	uint32_t efi_memmap;
	uint32_t efi_memmap_size;
	uint32_t efi_systab_hi;
	uint32_t efi_memmap_hi;
} __attribute__((packed));

#define EDDMAXNR 6
#define EDD_MBR_SIG_MAX 16

/* What the BIOS's enhanced disk drive services say of a disk (int 13h, functions 41h, 48h and 8). */
struct edd_info {
	uint8_t device;
	uint8_t version;
	uint16_t interface_support;
	uint16_t legacy_max_cylinder;
	uint8_t legacy_max_head;
	uint8_t legacy_sectors_per_track;
	uint8_t params[74];
} __attribute__((packed));

/* Elements of the list that hdr.setup_data begins; setup_indirect is the content of one of type SETUP_INDIRECT. */
struct setup_data {
	uint64_t next;
	uint32_t type;
	uint32_t len;
} __attribute__((packed));

#define SETUP_INDIRECT 0x80000000u

struct setup_indirect {
	uint32_t type;
	uint32_t reserved;
	uint64_t len;
	uint64_t addr;
} __attribute__((packed));

struct boot_params {
	struct screen_info screen_info;
	uint8_t apm_bios_info[0x14];
	uint8_t pad_054[4];
	uint64_t tboot_addr;
	struct ist_info ist_info;
	uint64_t acpi_rsdp_addr;
	uint8_t pad_078[8];
	uint8_t hd_info[2][16];
	uint8_t sys_desc_table[0x10];
	uint8_t olpc_ofw_header[0x10];
	uint32_t ext_ramdisk_image;
	uint32_t ext_ramdisk_size;
	uint32_t ext_cmd_line_ptr;
	uint8_t pad_0cc[0x13c - 0x0cc];
	uint32_t cc_blob_address;
	uint8_t edid_info[0x80];
	struct efi_info efi_info;
	uint32_t alt_mem_k;
	uint32_t scratch;
	uint8_t e820_entries;
	uint8_t eddbuf_entries;
	uint8_t edd_mbr_sig_buf_entries;
	uint8_t kbd_status;
	uint8_t secure_boot;
	uint8_t pad_1ed[2];
	uint8_t sentinel;
	uint8_t pad_1f0;
	struct setup_header hdr;
	uint8_t pad_26c[0x290 - 0x26c];
	uint32_t edd_mbr_sig_buffer[EDD_MBR_SIG_MAX];
	struct boot_e820_entry e820_table[E820_MAX_ENTRIES];
	uint8_t pad_cd0[0xd00 - 0xcd0];
	struct edd_info eddbuf[EDDMAXNR];
	uint8_t pad_eec[0x1000 - 0xeec];
} __attribute__((packed));

#define BOOT_PARAMS_AT(field, offset) \
	_Static_assert(offsetof(struct boot_params, field) == (offset), #field " is at " #offset)
BOOT_PARAMS_AT(screen_info.orig_video_points, 0x10);
BOOT_PARAMS_AT(apm_bios_info, 0x40);
BOOT_PARAMS_AT(tboot_addr, 0x58);
BOOT_PARAMS_AT(ist_info, 0x60);
BOOT_PARAMS_AT(acpi_rsdp_addr, 0x70);
BOOT_PARAMS_AT(ext_ramdisk_image, 0xc0);
BOOT_PARAMS_AT(cc_blob_address, 0x13c);
BOOT_PARAMS_AT(edid_info, 0x140);
BOOT_PARAMS_AT(efi_info, 0x1c0);
BOOT_PARAMS_AT(alt_mem_k, 0x1e0);
BOOT_PARAMS_AT(e820_entries, 0x1e8);
BOOT_PARAMS_AT(kbd_status, 0x1eb);
BOOT_PARAMS_AT(sentinel, 0x1ef);
BOOT_PARAMS_AT(hdr, 0x1f1);
BOOT_PARAMS_AT(hdr.boot_flag, 0x1fe);
BOOT_PARAMS_AT(hdr.header, 0x202);
BOOT_PARAMS_AT(hdr.realmode_swtch, 0x208);
BOOT_PARAMS_AT(hdr.code32_start, 0x214);
BOOT_PARAMS_AT(hdr.cmd_line_ptr, 0x228);
BOOT_PARAMS_AT(hdr.xloadflags, 0x236);
BOOT_PARAMS_AT(hdr.payload_offset, 0x248);
BOOT_PARAMS_AT(hdr.init_size, 0x260);
BOOT_PARAMS_AT(hdr.kernel_info_offset, 0x268);
BOOT_PARAMS_AT(e820_table, 0x2d0);
BOOT_PARAMS_AT(eddbuf, 0xd00);
_Static_assert(sizeof(struct boot_params) == 0x1000, "boot_params is one page");
