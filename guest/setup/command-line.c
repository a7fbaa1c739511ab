#include "bios.h"
#include "setup.h"

int command_line_option(const char *name, char *value, unsigned size)
{
	enum { REACH = 0x100000, LONGEST = 0xfff };
	uint32_t address = boot_params.hdr.cmd_line_ptr;
	uint16_t segment = address >> 4, offset = address & 15;
	const char *expected = name; /* what must come next for the name to match; null within a word that does not */
	unsigned copied = 0;
	int found = 0;

	if (!address || address >= REACH - LONGEST)
		return 0;
	for (unsigned i = 0; i < LONGEST; i++) {
		char c = peek8(segment, offset + i);

		if (!c)
			break;
		if (c == ' ' || c == '\t') {
			expected = name;
			continue;
		}
		if (!expected)
			continue;
		if (!*expected) {
			if (copied < size - 1)
				value[copied++] = c;
		} else if (c != *expected++) {
			expected = 0;
		} else if (!*expected) {
			found = 1;
			copied = 0;
		}
	}
	value[copied] = 0;
	return found;
}
