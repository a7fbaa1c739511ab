/*
 * The BIOS's own view of its disks, for the kernel's edd driver: zero-page.rst's eddbuf and edd_mbr_sig_buffer. Some
 * BIOSes hang when asked, so edd=off asks nothing and edd=skipmbr reads no sector.
 */
#include "bios.h"
#include "setup.h"

enum { DISK = 0x13, FIRST = 0x80, MBR_SIGNATURE = 0x1b8, MBR_MAGIC = 0x1fe };
enum { BYTES_PER_SECTOR = 24 }; /* in edd_info.params */

static struct bios_registers r;

static void disk_call(uint16_t ax, uint8_t disk)
{
	r.ax = ax;
	r.dl = disk;
	bios_call(DISK, &r);
}

static int query(uint8_t disk, struct edd_info *info)
{
	bios_registers_init(&r);
	r.bx = 0x55aa;
	disk_call(0x4100, disk);
	if (r.eflags & EFLAGS_CF || r.bx != 0xaa55)
		return 0;
	info->device = disk;
	info->version = r.ah;
	info->interface_support = r.cx;

	bios_registers_init(&r);
	*(uint16_t *)info->params = sizeof info->params;
	r.si = (uint16_t)(uint32_t)info->params;
	disk_call(0x4800, disk);

	bios_registers_init(&r);
	r.es = 0;
	disk_call(0x0800, disk);
	if (!(r.eflags & EFLAGS_CF)) {
		info->legacy_max_cylinder = r.ch + ((r.cl & 0xc0) << 2);
		info->legacy_max_head = r.dh;
		info->legacy_sectors_per_track = r.cl & 0x3f;
	}
	return 1;
}

/* 0 if the disk's first sector cannot be read or is no boot sector. */
static int read_boot_sector(uint8_t disk)
{
	bios_registers_init(&r);
	r.bx = (uint16_t)(uint32_t)sector_buffer;
	r.cx = 1;
	disk_call(0x0201, disk);
	return !(r.eflags & EFLAGS_CF) && *(uint16_t *)(sector_buffer + MBR_MAGIC) == 0xaa55;
}

static int equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void detect_disks(void)
{
	char option[8] = "";
	static struct edd_info info;

	command_line_option("edd=", option, sizeof option);
	if (equal(option, "off"))
		return;
	int read_sectors = !equal(option, "skipmbr") && !equal(option, "skip");
	for (unsigned i = 0; i < EDD_MBR_SIG_MAX; i++) {
		uint8_t *byte = (uint8_t *)&info;

		for (unsigned j = 0; j < sizeof info; j++)
			byte[j] = 0;
		if (query(FIRST + i, &info) && boot_params.eddbuf_entries < EDDMAXNR)
			boot_params.eddbuf[boot_params.eddbuf_entries++] = info;
		/* the buffer holds a sector of the usual size only */
		uint16_t sector = *(uint16_t *)(info.params + BYTES_PER_SECTOR);
		if (read_sectors && sector <= sizeof sector_buffer && read_boot_sector(FIRST + i)) {
			boot_params.edd_mbr_sig_buffer[i] = *(uint32_t *)(sector_buffer + MBR_SIGNATURE);
			boot_params.edd_mbr_sig_buf_entries = i + 1;
		}
	}
}
