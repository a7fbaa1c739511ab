/*
 * The text mode and the cursor, as zero-page.rst's screen_info has them. The mode stays as it is if it is a text mode;
 * vid_mode (the vga= option) chooses between the two that every card has. Graphics modes are the kernel's own business.
 */
#include "bios.h"
#include "setup.h"

enum { VIDEO = 0x10, BIOS_DATA = 0x40, COLUMNS = 0x4a, LAST_ROW = 0x84, FONT_HEIGHT = 0x85 };
enum { EXTENDED_VGA = 0xfffe };
enum { MONOCHROME_TEXT = 7, COLOUR_TEXT = 3 };

static struct bios_registers r;

static void video_call(uint16_t ax, uint16_t bx)
{
	bios_registers_init(&r);
	r.ax = ax;
	r.bx = bx;
	bios_call(VIDEO, &r);
}

static int detect_adapter(void)
{
	enum { CGA, EGA, VGA } adapter = CGA;

	video_call(0x1200, 0x10);
	boot_params.screen_info.orig_video_ega_bx = r.bx;
	if (r.bl != 0x10) {
		adapter = EGA;
		video_call(0x1a00, 0);
		if (r.al == 0x1a) {
			adapter = VGA;
			boot_params.screen_info.orig_video_isVGA = 1;
		}
	}
	return adapter != CGA;
}

static void choose_mode(void)
{
	video_call(0x0f00, 0);
	uint8_t mode = r.al & 0x7f;
	if (mode != COLOUR_TEXT && mode != MONOCHROME_TEXT)
		video_call(COLOUR_TEXT, 0);
	if (boot_params.hdr.vid_mode == EXTENDED_VGA)
		video_call(0x1112, 0); /* the 8x8 font, 50 lines */
}

static void store_mode(int has_font)
{
	struct screen_info *screen = &boot_params.screen_info;

	video_call(0x0f00, 0);
	screen->orig_video_mode = r.al & 0x7f;
	screen->orig_video_page = r.bh;
	uint8_t page = r.bh;

	video_call(0x0300, (uint16_t)page << 8);
	screen->orig_x = r.dl;
	screen->orig_y = r.dh;
	if (r.ch & 0x20 || (r.ch & 0x1f) > (r.cl & 0x1f))
		screen->flags |= VIDEO_FLAGS_NOCURSOR;

	uint8_t columns = peek8(BIOS_DATA, COLUMNS);
	screen->orig_video_cols = columns ? columns : 80; /* no video BIOS at all */
	screen->orig_video_lines = has_font ? peek8(BIOS_DATA, LAST_ROW) + 1 : 25;
	screen->orig_video_points = peek8(BIOS_DATA, FONT_HEIGHT);
}

/* The monitor's identification, by VESA's Display Data Channel. */
static void detect_edid(void)
{
	enum { VBE_OK = 0x004f, VBE_2 = 0x0200 };
	const uint16_t *vbe_version = (const uint16_t *)(sector_buffer + 4);

	bios_registers_init(&r);
	r.ax = 0x4f00;
	r.di = (uint16_t)(uint32_t)sector_buffer;
	bios_call(VIDEO, &r);
	if (r.ax != VBE_OK || *vbe_version < VBE_2)
		return;
	bios_registers_init(&r);
	r.ax = 0x4f15;
	r.es = 0;
	bios_call(VIDEO, &r);
	if (r.ax != VBE_OK)
		return;
	bios_registers_init(&r);
	r.ax = 0x4f15;
	r.bx = 1;
	r.di = (uint16_t)(uint32_t)boot_params.edid_info;
	bios_call(VIDEO, &r);
}

void detect_video(void)
{
	int has_font = detect_adapter();

	choose_mode();
	detect_edid();
	store_mode(has_font);
}
