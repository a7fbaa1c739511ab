/*
 * The last words: nothing is printed unless the kernel has to be refused. Serial ports as the command line's
 * earlyprintk= or console= name them, and the text screen that setup found.
 */
#include <io.h>
#include "bytes.h"
#include "decompressor.h"

#define UART_DIVISOR_LOW 0
#define UART_DIVISOR_HIGH 1
#define UART_FIFO_CONTROL 2
#define UART_LINE_CONTROL 3
#define UART_MODEM_CONTROL 4
#define UART_LINE_STATUS 5
#define DIVISOR_LATCH 0x80
#define EIGHT_BITS 0x03
#define DTR_RTS 0x03
#define TRANSMITTER_EMPTY 0x20
#define UART_CLOCK 115200
#define PATIENCE 0xffff

static uint16_t serial_port;

static uint16_t standard_port(char number)
{
	switch (number) {
	case '1':
		return 0x2f8;
	case '2':
		return 0x3e8;
	case '3':
		return 0x2e8;
	default:
		return 0x3f8;
	}
}

static const char *skip(const char *text, const char *prefix)
{
	const char *p = text;

	while (*prefix)
		if (*p++ != *prefix++)
			return 0;
	return p;
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}

static uint32_t number(const char **text)
{
	unsigned base = 10;
	uint32_t value = 0;

	if (skip(*text, "0x")) {
		base = 16;
		*text += 2;
	}
	for (; digit(**text) < base; ++*text)
		value = value * base + digit(**text);
	return value;
}

/* [serial,][ttySn|0xPORT][,BAUD] or uart[8250],io,0xPORT[,BAUD]; other consoles are not ours. */
static void open_serial(const char *value)
{
	const char *p = value, *next;
	uint32_t baud = 0;

	if ((next = skip(p, "serial"))) {
		serial_port = standard_port('0');
		p = *next == ',' ? next + 1 : next;
	}
	if ((next = skip(p, "uart"))) {
		if ((p = skip(next, "8250")))
			next = p;
		if (!(p = skip(next, ",io,")))
			return;
	}
	if ((next = skip(p, "ttyS"))) {
		serial_port = standard_port(*next);
		p = *next ? next + 1 : next;
	} else if (skip(p, "0x")) {
		serial_port = number(&p);
	}
	if (!serial_port)
		return;
	if (*p == ',')
		p++;
	baud = number(&p);
	if (!baud)
		return; /* as whoever came before us left it */

	uint32_t divisor = UART_CLOCK / baud;
	outb(EIGHT_BITS | DIVISOR_LATCH, serial_port + UART_LINE_CONTROL);
	outb(divisor, serial_port + UART_DIVISOR_LOW);
	outb(divisor >> 8, serial_port + UART_DIVISOR_HIGH);
	outb(EIGHT_BITS, serial_port + UART_LINE_CONTROL);
	outb(0, serial_port + UART_FIFO_CONTROL);
	outb(DTR_RTS, serial_port + UART_MODEM_CONTROL);
}

static void serial_put(char c)
{
	unsigned patience = PATIENCE;

	while (!(inb(serial_port + UART_LINE_STATUS) & TRANSMITTER_EMPTY) && --patience)
		;
	outb(c, serial_port);
}

/* The screen of screen_info, if it shows text; column and row go on in orig_x and orig_y. */
static void screen_put(char c)
{
	struct screen_info *s = &boot_params->screen_info;
	unsigned columns = s->orig_video_cols, lines = s->orig_video_lines;
	int monochrome = s->orig_video_mode == 7;
	uint16_t *memory = (uint16_t *)(monochrome ? 0xb0000l : 0xb8000l);

	if (!columns || !lines || s->orig_video_isVGA > 1)
		return;
	if (c == '\n') {
		s->orig_x = 0;
		s->orig_y++;
	} else {
		memory[s->orig_y * columns + s->orig_x++] = (uint8_t)c | 0x0700;
		if (s->orig_x >= columns) {
			s->orig_x = 0;
			s->orig_y++;
		}
	}
	if (s->orig_y >= lines) {
		copy_forwards(memory, memory + columns, (lines - 1) * columns * 2);
		for (unsigned i = 0; i < columns; i++)
			memory[(lines - 1) * columns + i] = 0x0720;
		s->orig_y = lines - 1;
	}
}

static void print(const char *text)
{
	for (; *text; text++) {
		if (serial_port) {
			if (*text == '\n')
				serial_put('\r');
			serial_put(*text);
		}
		screen_put(*text);
	}
}

_Noreturn void refuse(const char *why)
{
	char value[40];

	if (command_line_value("earlyprintk", value, sizeof value) > 0)
		open_serial(value);
	if (!serial_port && command_line_value("console", value, sizeof value) > 0)
		open_serial(value);
	print("\nCannot start the kernel: ");
	print(why);
	print("\n\n -- System halted\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}
