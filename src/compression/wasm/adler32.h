/* Adler-32 of lzop (RFC 1950). */
#ifndef ADLER32_H
#define ADLER32_H

#include "codec.h"

INLINE u32 across(v128_t v) {
  return wasm_u32x4_extract_lane(v, 0) + wasm_u32x4_extract_lane(v, 1) + wasm_u32x4_extract_lane(v, 2) +
         wasm_u32x4_extract_lane(v, 3);
}

/* Sixteen bytes at a time: b grows by 16 a and by the bytes weighted 16 down to 1. */
EXPORT(adler32) u32 adler32(const u8 *data, u32 length) {
  const v128_t weight_low = wasm_u16x8_make(16, 15, 14, 13, 12, 11, 10, 9);
  const v128_t weight_high = wasm_u16x8_make(8, 7, 6, 5, 4, 3, 2, 1);
  u32 a = 1, b = 0;
  while (length > 0) {
    u32 run = length < 5536 ? length : 5536; /* the most, in whole steps, that cannot overflow 32 bits */
    length -= run;
    v128_t sum = wasm_i32x4_const_splat(0), before = sum, weighted = sum;
    u32 wide = run & ~15u;
    for (u32 i = 0; i < wide; i += 16, data += 16) {
      v128_t bytes = wasm_v128_load(data);
      before = wasm_i32x4_add(before, sum);
      sum = wasm_i32x4_add(sum, wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(bytes)));
      v128_t low = wasm_i32x4_dot_i16x8(wasm_u16x8_extend_low_u8x16(bytes), weight_low);
      v128_t high = wasm_i32x4_dot_i16x8(wasm_u16x8_extend_high_u8x16(bytes), weight_high);
      weighted = wasm_i32x4_add(weighted, wasm_i32x4_add(low, high));
    }
    b += a * wide + 16 * across(before) + across(weighted);
    a += across(sum);
    for (u32 i = wide; i < run; i++) {
      a += *data++;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return b << 16 | a;
}

#endif
