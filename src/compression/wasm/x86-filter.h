/* The x86 filter of xz (The .xz File Format, 5.3.2), for both directions. */
#ifndef X86_FILTER_H
#define X86_FILTER_H

#include "codec.h"

/*
 * The x86 filter: operands of CALL (E8) and JMP (E9) were made absolute. An operand counts as an address if its top
 * byte is 00 or FF; `mask` remembers opcode-like bytes among the last operand's, bit 4 that such a byte stood in front
 * of 00 or FF. Both directions are one algorithm with the sign of the position changed.
 */
INLINE int sign_byte(u32 byte) { return byte == 0 || byte == 0xff; }

EXPORT(x86_filter) void x86_filter(u8 *data, u32 length, int encode) {
  if (length < 5) return;
  const v128_t fold = wasm_u8x16_splat(0xfe), opcode = wasm_u8x16_splat(0xe8);
  u32 mask = 0, previous = 0u - 5;
  const u32 last = length - 5;
  for (u32 at = 0; at <= last;) {
    if ((data[at] & 0xfe) != 0xe8) {
      u32 hits = 0;
      while (at + 16 <= last &&
             (hits = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_and(wasm_v128_load(data + at), fold), opcode))) == 0)
        at += 16;
      at += hits != 0 ? (u32)__builtin_ctz(hits) : 0;
      while (at <= last && (data[at] & 0xfe) != 0xe8) at++;
      if (at > last) break;
    }
    u32 gap = at - previous;
    previous = at;
    if (gap > 5) {
      mask = 0;
    } else {
      for (u32 i = 0; i < gap; i++) mask = (mask & 0x77) << 1;
    }
    u32 top = data[at + 4], recent = mask >> 1;
    if (sign_byte(top) && recent < 0x10 && (0x17u >> (recent & 7) & 1)) {
      u32 from = load32(data + at + 1), to;
      u32 next = encode ? at + 5 : 0u - (at + 5);
      for (;;) {
        to = from + next;
        if (mask == 0) break;
        u32 index = recent < 2 ? recent : recent < 4 ? 2 : 3;
        if (!sign_byte(to >> (24 - index * 8) & 0xff)) break;
        from = to ^ ((1u << (32 - index * 8)) - 1);
      }
      store32(data + at + 1, (to & 0x1ffffff) | (0u - (to >> 24 & 1)) << 24);
      at += 5;
      mask = 0;
    } else {
      at++;
      mask |= sign_byte(top) ? 0x11 : 1;
    }
  }
}

#endif
