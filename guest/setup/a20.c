/* Address line 20: without it every odd megabyte is an image of the one below. */
#include "bios.h"
#include "setup.h"

enum { KBC_DATA = 0x60, KBC_STATUS = 0x64, KBC_COMMAND = 0x64, SYSTEM_CONTROL = 0x92 };
enum { TRIES = 255, PROBES_SHORT = 32, PROBES_LONG = 1 << 21 };

/*
 * Writes below 1 MiB (at the vector of int 80h, which no BIOS uses) and looks whether the same address plus 1 MiB
 * follows. It may take the gate a while to open.
 */
static int a20_is_on(unsigned probes)
{
	enum { ADDRESS = 0x80 * 4 };
	uint32_t saved = peek32(0, ADDRESS), value = saved;
	int on = 0;

	while (!on && probes--) {
		poke32(0, ADDRESS, ++value);
		io_delay();
		on = peek32(0xffff, ADDRESS + 0x10) != value;
	}
	poke32(0, ADDRESS, saved);
	return on;
}

static void ask_bios(void)
{
	struct bios_registers r;

	bios_registers_init(&r);
	r.ax = 0x2401;
	bios_call(0x15, &r);
}

/* Waits until the keyboard controller takes a command; false if there is none (a bus without it reads all ones). */
static int kbc_ready(void)
{
	enum { OUTPUT_FULL = 1, INPUT_FULL = 2 };
	unsigned absent = 32;

	for (unsigned i = 0; i < 100000; i++) {
		io_delay();
		uint8_t status = inb(KBC_STATUS);
		if (status == 0xff) {
			if (!--absent)
				return 0;
		} else if (status & OUTPUT_FULL) {
			io_delay();
			inb(KBC_DATA);
		} else if (!(status & INPUT_FULL)) {
			return 1;
		}
	}
	return 0;
}

static void ask_keyboard_controller(void)
{
	outb(0xd1, KBC_COMMAND); /* write the output port: */
	kbc_ready();
	outb(0xdf, KBC_DATA); /* A20 on */
	kbc_ready();
	outb(0xff, KBC_COMMAND); /* a null command, for controllers that need one to finish */
	kbc_ready();
}

static void use_fast_gate(void)
{
	uint8_t value = inb(SYSTEM_CONTROL);

	outb((value | 2) & ~1, SYSTEM_CONTROL); /* bit 0 would reset the machine */
}

void enable_a20(void)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (a20_is_on(PROBES_SHORT))
			return;
		ask_bios();
		if (a20_is_on(PROBES_SHORT))
			return;
		int have_kbc = kbc_ready();
		if (a20_is_on(PROBES_SHORT))
			return; /* the BIOS was only slow */
		if (have_kbc) {
			ask_keyboard_controller();
			if (a20_is_on(PROBES_LONG))
				return;
		}
		use_fast_gate();
		if (a20_is_on(PROBES_LONG))
			return;
	}
	die("address line A20 does not open");
}
