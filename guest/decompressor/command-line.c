/*
 * The kernel's command line: words between white space, as the kernel's own early parser takes it (no quotes).
 */
#include "decompressor.h"

const char *command_line(void)
{
	const char *line = (const char *)(uintptr_t)command_line_pointer();

	return line ? line : "";
}

static int is_space(char c)
{
	return (uint8_t)(c - 1) < ' ';
}

/* If `word` begins with `prefix` returns what follows, else 0. */
static const char *after(const char *word, const char *prefix)
{
	while (*prefix)
		if (*word++ != *prefix++)
			return 0;
	return word;
}

static const char *next_word(const char *p)
{
	while (*p && !is_space(*p))
		p++;
	while (is_space(*p))
		p++;
	return p;
}

static const char *first_word(void)
{
	const char *p = command_line();

	while (is_space(*p))
		p++;
	return p;
}

int command_line_has(const char *option)
{
	for (const char *p = first_word(); *p; p = next_word(p)) {
		const char *rest = after(p, option);

		if (rest && (!*rest || is_space(*rest)))
			return 1;
	}
	return 0;
}

int command_line_value(const char *name, char *value, unsigned size)
{
	int length = -1;

	for (const char *p = first_word(); *p; p = next_word(p)) {
		const char *rest = after(p, name);

		if (!rest || *rest++ != '=')
			continue;
		for (length = 0; *rest && !is_space(*rest) && (unsigned)length + 1 < size; length++)
			value[length] = *rest++;
		value[length] = 0;
	}
	return length;
}
