/*
 * bzip2 decompression (format: as the reference implementation, bzip2 1.0, writes it), one stream after another. Writing
 * may stop at any byte: the output of one block (up to 46 MB) need not fit.
 */
#include "codec.h"

#define MAX_BLOCK 900000u
#define MAX_CODE 20
#define MAX_SYMBOLS 258
#define MAX_TABLES 6
#define MAX_SELECTORS 32768u
#define GROUP 50
#define FAST_BITS 11

#define BLOCK_MAGIC 0x314159265359ull
#define END_MAGIC 0x177245385090ull

struct table {
  u16 fast[1 << FAST_BITS];  /* symbol << 5 | length, 0 for longer codes */
  u32 limit[MAX_CODE + 2];   /* first left-aligned code (MAX_CODE bits) that is longer than the index */
  u32 offset[MAX_CODE + 1];  /* index into `sorted` of the first code of a length, less its value */
  u16 sorted[MAX_SYMBOLS];
};

static struct table tables[MAX_TABLES];
static u8 selectors[MAX_SELECTORS];
static u32 crc_table[8][256];

/* The current block. */
static struct {
  u32 links[MAX_BLOCK]; /* low 8 bits: byte; high 24 bits: next index */
  u8 bytes[MAX_BLOCK];  /* what following the links yields */
  u32 length, at;       /* of `bytes`; how many of them were written */
  u32 expected_crc, crc;
} block;

static struct {
  const u8 *in, *in_end;
  u8 *out;
  u64 bits; /* left-aligned */
  u32 count;
  u32 level, stream_crc;
  int in_block;
} s;

EXPORT(output) u8 *output(void) { return s.out; }
EXPORT(input) const u8 *input(void) { return s.in - s.count / 8; }

/* At least 56 valid bits at the top of `bits`. */
#define REFILL \
  do { \
    bits |= __builtin_bswap64(load64(in)) >> count; \
    in += (63 - count) >> 3; \
    count |= 56; \
  } while (0)

/* `n` from 1 to 24 bits. Does not run away behind the end of the input: overrun() stays true there. */
static u32 take(u32 n) {
  if (s.count < n) {
    if (s.in < s.in_end + 8) {
      s.bits |= __builtin_bswap64(load64(s.in)) >> s.count;
      s.in += (63 - s.count) >> 3;
    }
    s.count |= 56;
  }
  u32 value = (u32)(s.bits >> (64 - n));
  s.bits <<= n;
  s.count -= n;
  return value;
}

static int overrun(void) { return s.in - s.count / 8 > s.in_end; }

static int build_table(struct table *t, const u8 *lengths, u32 symbols) {
  u32 counts[MAX_CODE + 1] = {0}, code = 0, index = 0;
  for (u32 i = 0; i < symbols; i++) counts[lengths[i]]++;
  __builtin_memset(t->fast, 0, sizeof t->fast);
  for (u32 length = 1; length <= MAX_CODE; length++) {
    t->offset[length] = index - code;
    for (u32 i = 0; i < symbols; i++) {
      if (lengths[i] != length) continue;
      t->sorted[index++] = (u16)i;
      if (length <= FAST_BITS && code < 1u << length) {
        u32 first = code << (FAST_BITS - length), n = 1u << (FAST_BITS - length);
        for (u32 k = 0; k < n; k++) t->fast[first + k] = (u16)(i << 5 | length);
      }
      code++;
    }
    if (code > 1u << length) return CORRUPT; /* over-subscribed */
    t->limit[length] = code << (MAX_CODE - length);
    code <<= 1;
  }
  t->limit[MAX_CODE + 1] = 0xffffffffu;
  return MORE;
}

static int read_tables(u32 symbols, u32 *selector_count) {
  u32 groups = take(3), count = take(15);
  if (groups < 2 || groups > MAX_TABLES || count == 0) return CORRUPT;
  u8 order[MAX_TABLES] = {0, 1, 2, 3, 4, 5};
  for (u32 i = 0; i < count; i++) {
    u32 rank = 0;
    while (take(1)) {
      if (++rank >= groups) return CORRUPT;
    }
    u8 table = order[rank];
    for (; rank > 0; rank--) order[rank] = order[rank - 1];
    order[0] = table;
    selectors[i] = table;
  }
  for (u32 g = 0; g < groups; g++) {
    u8 lengths[MAX_SYMBOLS];
    u32 length = take(5);
    for (u32 i = 0; i < symbols; i++) {
      for (;;) {
        if (length < 1 || length > MAX_CODE) return CORRUPT;
        if (!take(1)) break;
        length += take(1) ? 0u - 1 : 1u;
      }
      lengths[i] = (u8)length;
    }
    if (overrun()) return TRUNCATED;
    int status = build_table(&tables[g], lengths, symbols);
    if (status != MORE) return status;
  }
  *selector_count = count;
  return MORE;
}

/* Huffman codes, run lengths and move-to-front into the low bytes of `links`; the counts of bytes into `counts`. */
static int read_symbols(u32 symbols, u32 selector_count, u8 *order, u32 *counts) {
  u32 *const links = block.links;
  const u32 max = s.level * 100000, end_of_block = symbols - 1;
  const u8 *in = s.in;
  u64 bits = s.bits;
  u32 count = s.count, at = 0, run = 0, weight = 1;
  int status = CORRUPT; /* no end of block before the selectors are used up */

  for (u32 group = 0; group < selector_count; group++) {
    const struct table *t = &tables[selectors[group]];
    if (in - count / 8 > s.in_end) {
      status = TRUNCATED;
      break;
    }
    for (u32 i = 0; i < GROUP; i++) {
      if (count < MAX_CODE) REFILL;
      u32 entry = t->fast[bits >> (64 - FAST_BITS)], symbol;
      if (likely(entry != 0)) {
        bits <<= entry & 31;
        count -= entry & 31;
        symbol = entry >> 5;
      } else {
        u32 top = (u32)(bits >> (64 - MAX_CODE)), n = FAST_BITS + 1;
        while (top >= t->limit[n]) n++;
        if (n > MAX_CODE) goto leave;
        symbol = t->sorted[t->offset[n] + (top >> (MAX_CODE - n))];
        bits <<= n;
        count -= n;
      }
      if (symbol <= 1) { /* a digit of a run length, base 2 with digits 1 and 2 */
        if (unlikely(weight > max)) goto leave;
        run += weight << symbol;
        weight <<= 1;
        continue;
      }
      if (weight > 1) {
        u32 byte = order[0];
        if (unlikely(run > max - at)) goto leave;
        counts[byte] += run;
        do links[at++] = byte; while (--run);
        weight = 1;
      }
      if (symbol == end_of_block) {
        status = MORE;
        goto leave;
      }
      u32 rank = symbol - 1;
      if (unlikely(at >= max)) goto leave;
      u8 byte = order[rank];
      if (rank < 16) {
        do order[rank] = order[rank - 1]; while (--rank);
      } else {
        u8 *to = order + rank;
        for (; to - order >= 16; to -= 16) wasm_v128_store(to - 15, wasm_v128_load(to - 16));
        for (; to > order; to--) *to = to[-1];
      }
      order[0] = byte;
      counts[byte]++;
      links[at++] = byte;
    }
  }
leave:
  s.in = in;
  s.bits = bits;
  s.count = count;
  block.length = at;
  return status;
}

static int read_block(void) {
  u8 order[256 + 16];
  u32 used = 0, selector_count, counts[256] = {0};
  block.expected_crc = take(24) << 8;
  block.expected_crc |= take(8);
  if (take(1)) return UNSUPPORTED; /* "randomised", given up before bzip2 1.0 */
  u32 origin = take(24), map = take(16);
  for (u32 i = 0; i < 16; i++) {
    if (!(map >> (15 - i) & 1)) continue;
    u32 bits = take(16);
    for (u32 j = 0; j < 16; j++)
      if (bits >> (15 - j) & 1) order[used++] = (u8)(i * 16 + j);
  }
  if (used == 0) return overrun() ? TRUNCATED : CORRUPT;
  int status = read_tables(used + 2, &selector_count);
  if (status == MORE) status = read_symbols(used + 2, selector_count, order, counts);
  if (overrun()) return TRUNCATED;
  if (status != MORE) return status;
  if (origin >= block.length) return CORRUPT;
  for (u32 byte = 0, sum = 0; byte < 256; byte++) {
    u32 n = counts[byte];
    counts[byte] = sum;
    sum += n;
  }
  u32 *links = block.links;
  for (u32 i = 0; i < block.length; i++) links[counts[links[i] & 0xff]++] |= i << 8;
  /* Following the links undoes the Burrows-Wheeler transform. */
  for (u32 i = 0, entry = links[origin]; i < block.length; i++) {
    entry = links[entry >> 8];
    block.bytes[i] = (u8)entry;
  }
  block.at = 0;
  block.crc = 0xffffffffu;
  return MORE;
}

/* CRC-32 of bzip2 (most significant bit first), eight bytes at a time. */
static u32 update_crc(u32 crc, const u8 *data, u32 length) {
  for (; length >= 8; data += 8, length -= 8) {
    u32 a = crc ^ __builtin_bswap32(load32(data)), b = __builtin_bswap32(load32(data + 4));
    crc = crc_table[7][a >> 24] ^ crc_table[6][a >> 16 & 0xff] ^ crc_table[5][a >> 8 & 0xff] ^ crc_table[4][a & 0xff] ^
          crc_table[3][b >> 24] ^ crc_table[2][b >> 16 & 0xff] ^ crc_table[1][b >> 8 & 0xff] ^ crc_table[0][b & 0xff];
  }
  for (; length > 0; data++, length--) crc = crc << 8 ^ crc_table[0][crc >> 24 ^ *data];
  return crc;
}

/* Undoes the run-length code in front of the transform: four equal bytes are followed by a count of further ones. */
static void expand(const u8 *target) {
  const u8 *in = block.bytes + block.at, *const in_end = block.bytes + block.length;
  u8 *out = s.out;
  while (out < target && in < in_end) {
    u32 literals = 16, run = 0;
    if (in_end - in >= 19) {
      v128_t first = wasm_v128_load(in);
      v128_t equal = wasm_i8x16_eq(first, wasm_v128_load(in + 1));
      equal = wasm_v128_and(equal, wasm_i8x16_eq(first, wasm_v128_load(in + 2)));
      equal = wasm_v128_and(equal, wasm_i8x16_eq(first, wasm_v128_load(in + 3)));
      u32 hits = wasm_i8x16_bitmask(equal);
      wasm_v128_store(out, first);
      if (hits != 0) {
        literals = (u32)__builtin_ctz(hits);
        run = 1;
      }
    } else {
      u32 byte = *in;
      literals = 1;
      *out = (u8)byte;
      if (in_end - in >= 4 && load32(in) == byte * 0x01010101u) {
        literals = 0;
        run = 1;
      }
    }
    out += literals;
    in += literals;
    if (run) {
      u32 length = 4;
      u8 byte = *in;
      in += 4;
      if (in < in_end) length += *in++;
      __builtin_memset(out, byte, length);
      out += length;
    }
  }
  block.crc = update_crc(block.crc, s.out, (u32)(out - s.out));
  block.at = (u32)(in - block.bytes);
  s.out = out;
}

static int begin_stream(void) {
  const u8 *in = s.in;
  if (s.in_end - in < 4) return TRUNCATED;
  if (in[0] != 'B' || in[1] != 'Z' || in[2] != 'h' || in[3] < '1' || in[3] > '9') return CORRUPT;
  s.level = in[3] - '0';
  s.in = in + 4;
  s.bits = 0;
  s.count = 0;
  s.stream_crc = 0;
  return MORE;
}

/* A further stream is one that gets as far as a block or its own end; other bytes do not belong to the file. */
static int another_stream(void) {
  const u8 *in = s.in;
  return s.in_end - in >= 10 && in[0] == 'B' && in[1] == 'Z' && in[2] == 'h' && in[3] >= '1' && in[3] <= '9' &&
         (load16(in + 4) == 0x4131 || load16(in + 4) == 0x7217);
}

EXPORT(bzip2_begin) int bzip2_begin(const u8 *in, const u8 *in_end, u8 *out) {
  for (u32 i = 0; i < 256; i++) {
    u32 crc = i << 24;
    for (int bit = 0; bit < 8; bit++) crc = crc << 1 ^ (0x04c11db7u & (0u - (crc >> 31)));
    crc_table[0][i] = crc;
  }
  for (u32 slice = 1; slice < 8; slice++)
    for (u32 i = 0; i < 256; i++) {
      u32 crc = crc_table[slice - 1][i];
      crc_table[slice][i] = crc << 8 ^ crc_table[0][crc >> 24];
    }
  s.in = in;
  s.in_end = in_end;
  s.out = out;
  s.in_block = 0;
  return begin_stream();
}

/* The next block, be it in the next stream, or the end of the last stream. */
static int next_block(void) {
  for (;;) {
    u64 magic = take(24);
    magic = magic << 24 | take(24);
    if (magic == BLOCK_MAGIC) return read_block();
    u32 crc = take(16) << 16;
    crc |= take(16);
    if (overrun()) return TRUNCATED;
    if (magic != END_MAGIC) return CORRUPT;
    if (crc != s.stream_crc) return CHECKSUM;
    s.in -= s.count / 8; /* the rest of the last byte is padding */
    s.bits = s.count = 0;
    if (!another_stream()) return DONE;
    int status = begin_stream();
    if (status != MORE) return status;
  }
}

/* Passes `target` by 274 bytes at most. */
EXPORT(bzip2_run) int bzip2_run(const u8 *target) {
  while (s.out < target) {
    if (!s.in_block) {
      int status = next_block();
      if (status != MORE) return status;
      s.in_block = 1;
    }
    expand(target);
    if (block.at < block.length) continue;
    if (~block.crc != block.expected_crc) return CHECKSUM;
    s.stream_crc = (s.stream_crc << 1 | s.stream_crc >> 31) ^ block.expected_crc;
    s.in_block = 0;
  }
  return MORE;
}
