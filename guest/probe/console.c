#include "probe.h"

enum { COM1 = 0x3f8, DATA = COM1, DIVISOR_LOW = COM1, DIVISOR_HIGH = COM1 + 1, INTERRUPTS = COM1 + 1, FIFO = COM1 + 2,
       LINE_CONTROL = COM1 + 3, MODEM_CONTROL = COM1 + 4, LINE_STATUS = COM1 + 5 };
enum { TRANSMITTER_EMPTY = 0x20, XEN_DEBUG_PORT = 0xe9 };

static char line[128];
static unsigned line_length;
static int under_xen_hvm;

static void detect_xen_hvm(void)
{
	uint32_t id[4];

	cpuid(0x40000000, id);
	under_xen_hvm = id[1] == 0x566e6558 && id[2] == 0x65584d4d && id[3] == 0x4d4d566e; /* XenVMMXenVMM */
}

void console_init(void)
{
	if (entry_state.protocol == PROTOCOL_XEN_PV) {
		xen_console_init();
		return;
	}
	outb(0, INTERRUPTS);
	outb(0x80, LINE_CONTROL); /* divisor latch: 115200 baud, */
	outb(1, DIVISOR_LOW);
	outb(0, DIVISOR_HIGH);
	outb(0x03, LINE_CONTROL); /* 8 bits, no parity, 1 stop bit */
	outb(0x07, FIFO);
	outb(0x03, MODEM_CONTROL);
	detect_xen_hvm();
}

static void write_serial(char c)
{
	for (unsigned i = 0; i < 100000 && !(inb(LINE_STATUS) & TRANSMITTER_EMPTY); i++)
		;
	outb(c, DATA);
	if (under_xen_hvm)
		outb(c, XEN_DEBUG_PORT); /* a PVH guest has no serial port; the hypervisor's log takes this one */
}

static void flush_line(void)
{
	if (entry_state.protocol == PROTOCOL_XEN_PV)
		xen_console_write(line, line_length);
	else
		for (unsigned i = 0; i < line_length; i++)
			write_serial(line[i]);
	line_length = 0;
}

void print_char(char c)
{
	if (c == '\n' && entry_state.protocol != PROTOCOL_XEN_PV)
		print_char('\r'); /* Xen's consoles do that themselves */
	line[line_length++] = c;
	if (c == '\n' || line_length == sizeof line)
		flush_line();
}

void print_text(const char *text)
{
	while (*text)
		print_char(*text++);
}

static void print_digit(unsigned value)
{
	print_char(value < 10 ? '0' + value : 'a' + value - 10);
}

void print_hex(uint64_t value)
{
	int shift = 60;

	print_text("0x");
	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		print_digit(value >> shift & 15);
}

void print_decimal(uint32_t value)
{
	if (value >= 10)
		print_decimal(value / 10);
	print_digit(value % 10);
}

void begin_line(const char *group, const char *key)
{
	print_text(group);
	print_text(key);
	print_text(": ");
}

void end_line(void)
{
	print_char('\n');
}

void line_text(const char *group, const char *key, const char *value)
{
	begin_line(group, key);
	print_text(value);
	end_line();
}

void line_hex(const char *group, const char *key, uint64_t value)
{
	begin_line(group, key);
	print_hex(value);
	end_line();
}

void line_decimal(const char *group, const char *key, uint32_t value)
{
	begin_line(group, key);
	print_decimal(value);
	end_line();
}

void line_memory(uint64_t start, uint64_t size, uint32_t type)
{
	begin_line("", "memory");
	print_hex(start);
	print_char(' ');
	print_hex(size);
	print_char(' ');
	print_decimal(type);
	end_line();
}

void line_string(const char *key, uint64_t address)
{
	enum { LONGEST = 4096 };
	const char *text = at(address);

	begin_line("", key);
	if (!address || !map_memory(address, LONGEST)) {
		print_text("none");
	} else {
		print_char('"');
		for (unsigned i = 0; i < LONGEST && text[i]; i++) {
			unsigned char c = text[i];
			if (c < ' ' || c > '~' || c == '"' || c == '\\') {
				print_text("\\x");
				print_digit(c >> 4);
				print_digit(c & 15);
			} else {
				print_char(c);
			}
		}
		print_char('"');
	}
	end_line();
}

void line_initrd(uint64_t start, uint64_t size)
{
	begin_line("", "initrd");
	if (!size) {
		print_text("none");
		end_line();
		return;
	}
	print_hex(start);
	print_char(' ');
	print_hex(size);
	end_line();
	if (map_memory(start, size))
		line_hex("initrd.", "crc32", crc32(0, at(start), size));
	else
		line_text("initrd.", "crc32", "out of reach");
}
