/*
 * What the codecs share. Freestanding C for wasm32; one module a format, one call at a time.
 *
 * The caller lays out linear memory: statics of the module, then the input, then the output as the last thing, so that
 * growing memory grows the output without moving it. Decoders may read up to SLACK bytes behind the input and write up
 * to SLACK bytes behind `end` (wide copies overshoot); both lie inside memory by the caller's layout.
 */
#ifndef CODEC_H
#define CODEC_H

#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* Results of a step; the same numbers stand in src/compression/wasm/arena.ts. */
enum status {
  MORE = 0,         /* the target was reached, call again */
  DONE = 1,         /* the stream has ended */
  TRUNCATED = -1,   /* the input ends too early */
  CORRUPT = -2,     /* the input cannot be what an encoder wrote */
  OVERFLOW = -3,    /* more output than `end` allows */
  UNSUPPORTED = -4, /* valid, but nothing a kernel would decompress */
  CHECKSUM = -5,    /* the output is not what was compressed */
};

#define SLACK 512

#define EXPORT(name) __attribute__((export_name(#name)))
#define INLINE static inline __attribute__((always_inline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

INLINE u16 load16(const u8 *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }
INLINE u32 load32(const u8 *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
INLINE u64 load64(const u8 *p) { u64 v; __builtin_memcpy(&v, p, 8); return v; }
INLINE void store16(u8 *p, u16 v) { __builtin_memcpy(p, &v, 2); }
INLINE void store32(u8 *p, u32 v) { __builtin_memcpy(p, &v, 4); }
INLINE void store64(u8 *p, u64 v) { __builtin_memcpy(p, &v, 8); }

/* Copies `length` > 0 bytes in steps of 16; writes up to 15 bytes too many. */
INLINE void wide_copy(u8 *to, const u8 *from, u32 length) {
  u8 *end = to + length;
  do {
    wasm_v128_store(to, wasm_v128_load(from));
    to += 16;
    from += 16;
  } while (to < end);
}

/* The LZ77 copy: `length` > 0 bytes from `distance` > 0 bytes back, where source and destination may overlap. Writes up
   to 15 bytes too many. */
INLINE void match_copy(u8 *to, u32 distance, u32 length) {
  const u8 *from = to - distance;
  u8 *end = to + length;
  if (likely(distance >= 16)) {
    wide_copy(to, from, length);
  } else if (distance == 1) {
    v128_t run = wasm_u8x16_splat(*from);
    do {
      wasm_v128_store(to, run);
      to += 16;
    } while (to < end);
  } else if (distance >= 8) {
    do {
      store64(to, load64(from));
      to += 8;
      from += 8;
    } while (to < end);
  } else {
    do *to++ = *from++; while (to < end);
  }
}

#endif
