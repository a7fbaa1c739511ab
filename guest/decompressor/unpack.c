/*
 * For images with a codec: the kernel is decompressed to where it will run, overtaking only payload already read.
 */
#include "decompressor.h"

const uint8_t *unpack_kernel(uint8_t *output)
{
	const struct parameters *p = &parameters;
	const uint8_t *payload = image + p->payload_offset;
	uint8_t *end = output + p->elf_size + p->relocations_size;

	if (decode(payload, payload + p->payload_length, output, end) != end)
		refuse("the compressed kernel is shorter than announced");
	return output;
}
