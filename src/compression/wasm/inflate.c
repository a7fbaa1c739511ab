/*
 * Inflate (RFC 1951), for environments without zlib. Symbols are decoded one by one until the target is reached, so that
 * a stream may be stopped anywhere.
 */
#include "codec.h"
#include "crc32.h"

#define MAX_CODE 15
#define FAST_BITS 11
#define LITERALS 288
#define DISTANCES 32

/* A code's meaning: bits of the code, extra bits (or LITERAL, END, INVALID), base. */
struct row {
  u8 bits, extra;
  u16 base;
};
#define LITERAL 0x80
#define END 0x81
#define INVALID 0x82

struct table {
  struct row fast[1 << FAST_BITS]; /* by the next bits of the stream; `bits` 0 for longer codes */
  u32 limit[MAX_CODE + 2];         /* first left-aligned code that is longer than the index */
  u32 offset[MAX_CODE + 1];        /* index into `sorted` of the first code of a length, less its value */
  struct row sorted[LITERALS];
};

static struct table literal_table, distance_table, length_table;

static struct {
  const u8 *in, *in_end;
  u8 *base, *out;
  u64 bits; /* the next bit is the lowest */
  u32 count;
  enum { HEADER, STORED, CODES, ENDED } mode;
  int last;
  u32 stored; /* bytes left of a stored block */
} s;

EXPORT(output) u8 *output(void) { return s.out; }
EXPORT(input) const u8 *input(void) { return s.in - s.count / 8; }

/* At least `n` bits, up to 56; behind the end of the input they are made up, and `in` does not run away. */
INLINE void need(u32 n) {
  if (s.count >= n) return;
  if (s.in < s.in_end + 8) {
    s.bits |= load64(s.in) << s.count;
    s.in += (63 - s.count) >> 3;
  }
  s.count |= 56;
}

INLINE void drop(u32 n) {
  s.bits >>= n;
  s.count -= n;
}

static u32 take(u32 n) {
  need(n);
  u32 value = (u32)s.bits & ((1u << n) - 1);
  drop(n);
  return value;
}

static int overrun(void) { return s.in - s.count / 8 > s.in_end; }

static u32 reverse(u32 code, u32 bits) { return __builtin_bitreverse32(code) >> (32 - bits); }

/* RFC 1951, 3.2.5 */
static struct row literal_row(u32 symbol) {
  if (symbol < 256) return (struct row){0, LITERAL, (u16)symbol};
  if (symbol == 256) return (struct row){0, END, 0};
  if (symbol > 285) return (struct row){0, INVALID, 0};
  if (symbol == 285) return (struct row){0, 0, 258};
  u32 n = symbol - 257, extra = n < 8 ? 0 : (n >> 2) - 1;
  return (struct row){0, (u8)extra, (u16)(3 + (n < 8 ? n : (4 + (n & 3)) << extra))};
}

static struct row distance_row(u32 symbol) {
  if (symbol > 29) return (struct row){0, INVALID, 0};
  u32 extra = symbol < 4 ? 0 : (symbol >> 1) - 1;
  return (struct row){0, (u8)extra, (u16)(1 + (symbol < 4 ? symbol : (2 + (symbol & 1)) << extra))};
}

static struct row length_row(u32 symbol) { return (struct row){0, LITERAL, (u16)symbol}; }

static int build_table(struct table *t, const u8 *lengths, u32 symbols, struct row (*row_of)(u32)) {
  u32 code = 0, index = 0;
  __builtin_memset(t->fast, 0, sizeof t->fast);
  for (u32 length = 1; length <= MAX_CODE; length++) {
    t->offset[length] = index - code;
    for (u32 i = 0; i < symbols; i++) {
      if (lengths[i] != length) continue;
      struct row row = row_of(i);
      row.bits = (u8)length;
      t->sorted[index++] = row;
      if (length <= FAST_BITS && code < 1u << length)
        for (u32 k = reverse(code, length); k < 1 << FAST_BITS; k += 1u << length) t->fast[k] = row;
      code++;
    }
    if (code > 1u << length) return CORRUPT; /* over-subscribed */
    t->limit[length] = code << (MAX_CODE - length);
    code <<= 1;
  }
  t->limit[MAX_CODE + 1] = 0xffffffffu;
  return MORE;
}

/* The row for the next code; `bits` 0 if there is no such code. At least 15 bits must be there. */
INLINE struct row look_up(const struct table *t, u64 bits) {
  struct row row = t->fast[bits & ((1 << FAST_BITS) - 1)];
  if (likely(row.bits != 0)) return row;
  u32 code = reverse((u32)bits & ((1 << MAX_CODE) - 1), MAX_CODE), n = 1;
  while (code >= t->limit[n]) n++;
  return n > MAX_CODE ? row : t->sorted[t->offset[n] + (code >> (MAX_CODE - n))];
}

static int fixed_tables(void) {
  u8 lengths[LITERALS];
  for (u32 i = 0; i < LITERALS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  build_table(&literal_table, lengths, LITERALS, literal_row);
  for (u32 i = 0; i < DISTANCES; i++) lengths[i] = 5;
  return build_table(&distance_table, lengths, DISTANCES, distance_row);
}

static int dynamic_tables(void) {
  static const u8 order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  u8 lengths[LITERALS + DISTANCES] = {0};
  u32 literals = take(5) + 257, distances = take(5) + 1, count = take(4) + 4;
  for (u32 i = 0; i < count; i++) lengths[order[i]] = (u8)take(3);
  if (build_table(&length_table, lengths, 19, length_row) < 0) return CORRUPT;
  for (u32 at = 0; at < literals + distances;) {
    need(MAX_CODE);
    struct row row = look_up(&length_table, s.bits);
    if (row.bits == 0) return CORRUPT;
    drop(row.bits);
    u32 length = row.base, repeat = 1;
    if (length >= 16) {
      if (length == 16 && at == 0) return CORRUPT;
      repeat = length == 16 ? 3 + take(2) : length == 17 ? 3 + take(3) : 11 + take(7);
      length = length == 16 ? lengths[at - 1] : 0;
    }
    if (repeat > literals + distances - at) return CORRUPT;
    while (repeat-- > 0) lengths[at++] = (u8)length;
  }
  if (overrun()) return TRUNCATED;
  u8 distance_lengths[DISTANCES];
  __builtin_memcpy(distance_lengths, lengths + literals, distances);
  if (build_table(&literal_table, lengths, literals, literal_row) < 0) return CORRUPT;
  return build_table(&distance_table, distance_lengths, distances, distance_row);
}

static int read_header(void) {
  s.last = (int)take(1);
  u32 type = take(2);
  int status = MORE;
  if (type == 0) {
    drop(s.count & 7);
    s.stored = take(16);
    if ((take(16) ^ 0xffff) != s.stored) return overrun() ? TRUNCATED : CORRUPT;
    s.in -= s.count / 8;
    s.bits = s.count = 0;
    s.mode = STORED;
  } else {
    if (type == 3) return overrun() ? TRUNCATED : CORRUPT;
    status = type == 1 ? fixed_tables() : dynamic_tables();
    s.mode = CODES;
  }
  return overrun() ? TRUNCATED : status;
}

static int run_stored(const u8 *target) {
  u32 room = (u32)(target - s.out), there = (u32)(s.in_end - s.in);
  u32 n = s.stored < room ? s.stored : room;
  if (n > there) return TRUNCATED;
  __builtin_memcpy(s.out, s.in, n);
  s.in += n;
  s.out += n;
  s.stored -= n;
  if (s.stored == 0) s.mode = s.last ? ENDED : HEADER;
  return MORE;
}

static int run_codes(const u8 *target) {
  const u8 *in = s.in, *const in_end = s.in_end, *const base = s.base;
  u8 *out = s.out;
  u64 bits = s.bits;
  u32 count = s.count;
  int status = MORE;
  while (out < target) {
    if (unlikely(in - count / 8 > in_end)) break;
    bits |= load64(in) << count;
    in += (63 - count) >> 3;
    count |= 56;
    struct row row = look_up(&literal_table, bits);
    bits >>= row.bits;
    count -= row.bits;
    if (row.extra == LITERAL) {
      *out++ = (u8)row.base;
      row = look_up(&literal_table, bits); /* at least 41 bits are left */
      if (row.extra == LITERAL && row.bits != 0) {
        bits >>= row.bits;
        count -= row.bits;
        *out++ = (u8)row.base;
      }
      continue;
    }
    if (unlikely(row.bits == 0 || row.extra == INVALID)) {
      status = CORRUPT;
      break;
    }
    if (row.extra == END) {
      s.mode = s.last ? ENDED : HEADER;
      break;
    }
    u32 length = row.base + ((u32)bits & ((1u << row.extra) - 1));
    bits >>= row.extra;
    count -= row.extra;
    row = look_up(&distance_table, bits); /* at most 20 of 56 bits are gone, 28 more will be */
    bits >>= row.bits;
    count -= row.bits;
    if (unlikely(row.bits == 0 || row.extra == INVALID)) {
      status = CORRUPT;
      break;
    }
    u32 distance = row.base + ((u32)bits & ((1u << row.extra) - 1));
    bits >>= row.extra;
    count -= row.extra;
    if (unlikely(distance > (u32)(out - base))) {
      status = CORRUPT;
      break;
    }
    match_copy(out, distance, length);
    out += length;
  }
  s.in = in;
  s.out = out;
  s.bits = bits;
  s.count = count;
  return overrun() ? TRUNCATED : status;
}

EXPORT(inflate_begin) void inflate_begin(const u8 *in, const u8 *in_end, u8 *out) {
  s.in = in;
  s.in_end = in_end;
  s.base = s.out = out;
  s.bits = s.count = 0;
  s.mode = HEADER;
}

/* Passes `target` by 273 bytes at most. */
EXPORT(inflate_run) int inflate_run(const u8 *target) {
  while (s.mode != ENDED) {
    if (s.out >= target) return MORE;
    int status = s.mode == HEADER ? read_header() : s.mode == STORED ? run_stored(target) : run_codes(target);
    if (status != MORE) return status;
  }
  return DONE;
}
