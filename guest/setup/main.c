/*
 * The real-mode setup: fills in boot_params from the BIOS and enters the protected-mode part of the image with it.
 * boot.rst, "The Real-Mode Kernel Header" and "32-bit Boot Protocol"; zero-page.rst for the fields.
 */
#include "bios.h"
#include "setup.h"

void far_call(uint32_t pointer);
void enter_protected_mode(uint32_t entry, uint32_t boot_params) __attribute__((noreturn));

struct boot_params boot_params __attribute__((aligned(16)));
uint8_t sector_buffer[512] __attribute__((aligned(512)));

static void copy_setup_header(void)
{
	/* The loaded first sector, with what the boot loader wrote into its header. */
	const uint8_t *sector = 0;
	const uint8_t *from = sector + offsetof(struct boot_params, hdr);
	uint8_t *to = (uint8_t *)&boot_params.hdr;

	__asm__("" : "+r"(from)); /* offset 0 of the segment is no null pointer */
	for (unsigned i = 0; i < sizeof boot_params.hdr; i++)
		to[i] = from[i];
}

/* A loader older than protocol 2.02 gives an offset from 0x90000, or from wherever it loaded us. */
static void find_old_command_line(void)
{
	uint32_t word = peek32(data_segment(), OLD_CL_MAGIC_AT);
	uint16_t offset = word >> 16;

	if (boot_params.hdr.cmd_line_ptr || (uint16_t)word != OLD_CL_MAGIC)
		return;
	uint16_t segment = offset < boot_params.hdr.setup_move_size ? data_segment() : 0x9000;
	boot_params.hdr.cmd_line_ptr = ((uint32_t)segment << 4) + offset;
}

static void tell_bios_long_mode(void)
{
	struct bios_registers r;

	bios_registers_init(&r);
	r.ax = 0xec00;
	r.bx = 2;
	bios_call(0x15, &r);
}

static void detect_keyboard(void)
{
	struct bios_registers r;

	bios_registers_init(&r);
	r.ah = 0x02;
	bios_call(0x16, &r);
	boot_params.kbd_status = r.al;

	bios_registers_init(&r);
	r.ax = 0x0305; /* fastest repeat rate */
	bios_call(0x16, &r);
}

/* Intel SpeedStep, for drivers of the Pentium III. */
static void detect_speedstep(void)
{
	struct bios_registers r;

	bios_registers_init(&r);
	r.ax = 0xe980;
	r.edx = 0x47534943; /* "ISGC" */
	bios_call(0x15, &r);
	boot_params.ist_info.signature = r.eax;
	boot_params.ist_info.command = r.ebx;
	boot_params.ist_info.event = r.ecx;
	boot_params.ist_info.perf_level = r.edx;
}

static void disable_interrupts(void)
{
	uint32_t hook = boot_params.hdr.realmode_swtch;

	if (hook) {
		far_call(hook);
	} else {
		__asm__ volatile("cli");
		outb(0x80, 0x70); /* NMI off */
		io_delay();
	}
}

static void quiet_the_hardware(void)
{
	/* the coprocessor's error line, through which it interrupts on IRQ 13 */
	outb(0, 0xf0);
	io_delay();
	outb(0, 0xf1);
	io_delay();
	/* both interrupt controllers, but for the line between them */
	outb(0xff, 0xa1);
	io_delay();
	outb(0xfb, 0x21);
	io_delay();
}

void setup_main(void)
{
	copy_setup_header();
	find_old_command_line();
	unsigned family = check_processor();
	if (boot_params.hdr.xloadflags & XLF_KERNEL_64)
		tell_bios_long_mode();
	detect_memory();
	detect_keyboard();
	if (family >= 6)
		detect_speedstep();
	detect_disks();
	detect_video();

	disable_interrupts();
	enable_a20();
	quiet_the_hardware();
	enter_protected_mode(boot_params.hdr.code32_start,
			     ((uint32_t)data_segment() << 4) + (uint32_t)&boot_params);
}
