/* CRC-32 (IEEE 802.3, reflected) of gzip and xz, sixteen bytes at a time. */
#ifndef CRC32_H
#define CRC32_H

#include "codec.h"

static u32 crc32_table[16][256];

static void fill_crc32_table(void) {
  for (u32 i = 0; i < 256; i++) {
    u32 crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    crc32_table[0][i] = crc;
  }
  for (u32 slice = 1; slice < 16; slice++)
    for (u32 i = 0; i < 256; i++) {
      u32 crc = crc32_table[slice - 1][i];
      crc32_table[slice][i] = crc >> 8 ^ crc32_table[0][crc & 0xff];
    }
}

#define CRC32_WORD(word, slice) \
  (crc32_table[(slice) + 3][(word) & 0xff] ^ crc32_table[(slice) + 2][(word) >> 8 & 0xff] ^ \
   crc32_table[(slice) + 1][(word) >> 16 & 0xff] ^ crc32_table[slice][(word) >> 24])

EXPORT(crc32) u32 crc32(const u8 *data, u32 length) {
  u32 crc = 0xffffffffu;
  if (crc32_table[0][1] == 0) fill_crc32_table();
  for (; length >= 16; data += 16, length -= 16) {
    u32 a = load32(data) ^ crc, b = load32(data + 4), c = load32(data + 8), d = load32(data + 12);
    crc = CRC32_WORD(a, 12) ^ CRC32_WORD(b, 8) ^ CRC32_WORD(c, 4) ^ CRC32_WORD(d, 0);
  }
  for (; length > 0; data++, length--) crc = crc >> 8 ^ crc32_table[0][(crc ^ *data) & 0xff];
  return ~crc;
}

#endif
