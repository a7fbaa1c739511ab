/*
 * The probe: a kernel that tells who started it, how, and with what. It prints `key: value` lines from PROBE-BEGIN to
 * PROBE-END on the first serial port or on Xen's console, then powers the machine off. Numbers are hexadecimal unless
 * they count something. Keys appear in a fixed order; memory and setup_data once for each entry.
 */
#include "probe.h"

static void report_protocol(void)
{
	static const char names[][12] = { "none", "linux32", "linux64", "pvh", "multiboot", "xen-pv" };

	line_text("", "protocol", names[entry_state.protocol]);
}

static void report_registers(void)
{
	static const char numbered[][4] = { "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	const struct entry_state *s = &entry_state;

	line_hex("reg.", "ip", s->ip);
	line_hex("reg.", "ax", s->ax);
	line_hex("reg.", "bx", s->bx);
	line_hex("reg.", "cx", s->cx);
	line_hex("reg.", "dx", s->dx);
	line_hex("reg.", "si", s->si);
	line_hex("reg.", "di", s->di);
	line_hex("reg.", "bp", s->bp);
	line_hex("reg.", "sp", s->sp);
	if (s->protocol == PROTOCOL_LINUX64 || s->protocol == PROTOCOL_XEN_PV)
		for (unsigned i = 0; i < 8; i++)
			line_hex("reg.", numbered[i], s->r8_to_r15[i]);
	line_hex("reg.", "flags", s->flags);
	line_hex("reg.", "cs", s->cs);
	line_hex("reg.", "ds", s->ds);
	line_hex("reg.", "es", s->es);
	line_hex("reg.", "fs", s->fs);
	line_hex("reg.", "gs", s->gs);
	line_hex("reg.", "ss", s->ss);
}

static void report_descriptor(const char *name, uint64_t selector)
{
	enum { TABLE_INDICATOR = 4 };
	uint64_t offset = selector & ~7u;

	begin_line("descriptor.", name);
	if (!offset || selector & TABLE_INDICATOR || offset + 7 > entry_state.gdtr.limit)
		print_text("none");
	else
		print_hex(*(const uint64_t *)at(entry_state.gdtr.base + offset));
	end_line();
}

/* A guest of Xen PV sees Xen's, not its own. */
static void report_system_registers(void)
{
	const struct entry_state *s = &entry_state;

	line_hex("reg.", "cr0", s->cr0);
	line_hex("reg.", "cr2", s->cr2);
	line_hex("reg.", "cr3", s->cr3);
	line_hex("reg.", "cr4", s->cr4);
#ifdef __x86_64__
	line_hex("reg.", "efer", s->efer);
#endif
	line_hex("reg.", "tr", s->tr);
	line_hex("reg.", "ldtr", s->ldtr);
	line_hex("gdtr.", "base", s->gdtr.base);
	line_hex("gdtr.", "limit", s->gdtr.limit);
	line_hex("idtr.", "base", s->idtr.base);
	line_hex("idtr.", "limit", s->idtr.limit);
	/* PVH and multiboot promise segments, but no table behind them */
	if (s->protocol == PROTOCOL_PVH || s->protocol == PROTOCOL_MULTIBOOT)
		return;
	if (!map_memory(s->gdtr.base, s->gdtr.limit + 1u))
		return;
	report_descriptor("cs", s->cs);
	report_descriptor("ds", s->ds);
	report_descriptor("ss", s->ss);
	report_descriptor("tr", s->tr);
}

static void report_handover(void)
{
	switch (entry_state.protocol) {
	case PROTOCOL_LINUX32:
	case PROTOCOL_LINUX64:
		report_boot_params(entry_state.si);
		break;
	case PROTOCOL_PVH:
		report_pvh(entry_state.bx);
		break;
	case PROTOCOL_MULTIBOOT:
		report_multiboot(entry_state.bx);
		break;
	case PROTOCOL_XEN_PV:
		report_xen(entry_state.si);
		break;
	}
}

static void power_off(void)
{
	enum { SLEEP_ENABLE = 0x2000, PM1A_QEMU = 0x604, PM1A_V86_AND_BOCHS = 0xb004, KBC = 0x64, KBC_RESET = 0xfe };

	if (entry_state.protocol == PROTOCOL_XEN_PV) {
		xen_shutdown();
	} else {
		outw(SLEEP_ENABLE, PM1A_QEMU);
		outw(SLEEP_ENABLE, PM1A_V86_AND_BOCHS);
		outb(KBC_RESET, KBC);
	}
}

void probe_main(void)
{
	console_init();
	print_text("\nPROBE-BEGIN\n");
	line_decimal("", "bits", sizeof(long) * 8);
	report_protocol();
	report_registers();
	if (entry_state.protocol != PROTOCOL_XEN_PV)
		report_system_registers();
	report_handover();
	unsigned failures = report_segments();
	begin_line("", "PROBE-END");
	if (failures)
		print_decimal(failures);
	else
		print_text("ok");
	if (failures)
		print_text(" FAILED");
	end_line();
	power_off();
	for (;;)
		if (entry_state.protocol != PROTOCOL_XEN_PV)
			__asm__ volatile("cli; hlt");
}
