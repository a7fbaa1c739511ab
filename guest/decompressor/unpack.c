/*
 * For images with a codec: the kernel is decompressed to where it will run, overtaking only payload already read.
 */
#include "decompressor.h"

const uint8_t *unpack_kernel(uint8_t *output)
{
	const struct parameters *p = &parameters;
	const uint8_t *payload = image + p->payload_offset;
	size_t size = (size_t)p->elf_size + p->relocations_size;
	decoder *decode_here = decode;
	summer *checksum_here = checksum;

#ifndef __x86_64__
	if (enable_sse2()) {
		decode_here = decode_sse2;
		checksum_here = checksum_sse2;
	}
#endif
	if (decode_here(payload, payload + p->payload_length, output, output + size) != output + size)
		refuse("the compressed kernel is shorter than announced");
	if (p->checksum && checksum_here(output, size) != p->checksum)
		refuse("the compressed kernel is damaged");
#ifndef __x86_64__
	disable_sse2();
#endif
	return output;
}
