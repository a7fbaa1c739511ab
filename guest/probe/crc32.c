#include "probe.h"

uint32_t crc32(uint32_t before, const void *bytes, uint64_t size)
{
	enum { POLYNOMIAL = 0xedb88320 };
	static uint32_t table[256];
	const uint8_t *byte = bytes;
	uint32_t crc = ~before;

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;
			for (int bit = 0; bit < 8; bit++)
				value = value >> 1 ^ (value & 1 ? (uint32_t)POLYNOMIAL : 0);
			table[i] = value;
		}
	while (size--)
		crc = crc >> 8 ^ table[(crc ^ *byte++) & 0xff];
	return ~crc;
}
