/*
 * Zstandard decompression (RFC 8878), one frame without a dictionary. The caller reads the frame header; here are the
 * blocks and the content checksum. The output is its own window.
 */
#include "codec.h"

#define MAX_BLOCK (128u << 10)
#define HUFFMAN_BITS 11
#define MAX_FSE_LOG 9
#define WEIGHTS_LOG 6

/* A row of an FSE table: what the state stands for, and how to get to the next state. */
struct fse_row {
  u32 base;       /* of the value */
  u8 extra_bits;  /* to be added to `base` */
  u8 state_bits;
  u16 next;       /* to which `state_bits` bits are added */
};

struct fse_table {
  struct fse_row rows[1 << MAX_FSE_LOG];
  u32 log;
  int valid;
};

/* One of the three kinds of codes in a sequence. */
struct code_kind {
  u32 max_symbol, max_log, default_log;
  const signed char *default_counts;
  const u32 *bases;
  const u8 *extra_bits;
};

static const u32 literal_bases[36] = {
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024,
  2048, 4096, 8192, 16384, 32768, 65536,
};
static const u8 literal_extra[36] = {
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
};
static const signed char literal_counts[36] = {
  4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
};
static const u32 match_bases[53] = {
  3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,
  34, 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539,
};
static const u8 match_extra[53] = {
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2,
  3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
};
static const signed char match_counts[53] = {
  1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
  1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
};
static const signed char offset_counts[29] = {
  1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
};

static const struct code_kind literal_kind = {35, 9, 6, literal_counts, literal_bases, literal_extra};
static const struct code_kind match_kind = {52, 9, 6, match_counts, match_bases, match_extra};
static const struct code_kind offset_kind = {31, 8, 5, offset_counts, 0, 0}; /* code n: 2^n and n extra bits */
#define DEFAULT_OFFSET_CODES 29

static struct fse_table literal_table, match_table, offset_table, weight_table;
static u16 huffman[1 << HUFFMAN_BITS]; /* symbol | bits << 8 */
static u8 literals[MAX_BLOCK + SLACK];

static struct {
  const u8 *in, *in_end;
  u8 *base, *out;
  u32 block_max;
  u32 huffman_log; /* 0: no table yet */
  u32 offsets[3];
  int last_seen;
  int checksummed;
  const u8 *hashed; /* output up to here is in `lanes` */
  u64 lanes[4];
} s;

EXPORT(output) u8 *output(void) { return s.out; }
EXPORT(input) const u8 *input(void) { return s.in; }

INLINE u32 high_bit(u32 value) { return 31 - (u32)__builtin_clz(value); }

/*
 * A bit stream that is read backwards. `bits` is left-aligned; `used` bits of the eight bytes at `at` are gone. Up to
 * 56 bits may be taken between refills. Reading in front of the first byte yields rubbish, which remaining() shows.
 */
struct backward {
  const u8 *start, *at;
  u64 bits;
  u32 used;
};

INLINE int backward_begin(struct backward *b, const u8 *start, u32 length) {
  if (length == 0 || start[length - 1] == 0) return CORRUPT;
  b->start = start;
  b->at = start + length - 8;
  b->used = 8 - high_bit(start[length - 1]);
  b->bits = load64(b->at) << b->used;
  return MORE;
}

INLINE u32 backward_take(struct backward *b, u32 n) {
  u32 value = (u32)(b->bits >> 1 >> (63 - n));
  b->bits <<= n;
  b->used += n;
  return value;
}

INLINE void backward_refill(struct backward *b) {
  b->at -= b->used >> 3;
  b->used &= 7;
  b->bits = load64(b->at) << b->used;
}

INLINE int backward_remaining(const struct backward *b) { return (int)(b->at - b->start) * 8 + 64 - (int)b->used; }

/* Spreads the symbols over the states (RFC 8878, 4.1.1). */
static void build_fse(struct fse_table *table, const signed short *counts, u32 symbols, u32 log, const u32 *bases,
                      const u8 *extra_bits) {
  const u32 size = 1u << log, step = (size >> 1) + (size >> 3) + 3;
  u16 next[256];
  u8 symbol_of[1 << MAX_FSE_LOG];
  u32 top = size, at = 0;
  for (u32 symbol = 0; symbol < symbols; symbol++) {
    if (counts[symbol] == -1) symbol_of[--top] = (u8)symbol;
    next[symbol] = (u16)(counts[symbol] == -1 ? 1 : counts[symbol]);
  }
  for (u32 symbol = 0; symbol < symbols; symbol++)
    for (int i = 0; i < counts[symbol]; i++) {
      symbol_of[at] = (u8)symbol;
      do at = (at + step) & (size - 1); while (at >= top);
    }
  for (u32 state = 0; state < size; state++) {
    u32 symbol = symbol_of[state], x = next[symbol]++, bits = log - high_bit(x);
    struct fse_row *row = &table->rows[state];
    row->base = bases ? bases[symbol] : 1u << (symbol & 31);
    row->extra_bits = extra_bits ? extra_bits[symbol] : (u8)symbol;
    row->state_bits = (u8)bits;
    row->next = (u16)((x << bits) - size);
  }
  table->log = log;
  table->valid = 1;
}

/* Reads the counts of an FSE table (RFC 8878, 4.1.1) and builds it; returns the bytes read, or a negative status. */
static int read_fse(struct fse_table *table, const u8 *in, u32 length, u32 max_symbol, u32 max_log, const u32 *bases,
                    const u8 *extra_bits) {
  signed short counts[256];
  if (length == 0) return CORRUPT;
  u32 log = (in[0] & 15u) + 5, position = 4, symbol = 0;
  if (log > max_log) return CORRUPT;
  u32 remaining = 1u << log;
  while (remaining > 0) {
    if (symbol > max_symbol || position > length * 8) return CORRUPT;
    u32 bits = high_bit(remaining + 1) + 1, low_mask = (1u << (bits - 1)) - 1, cheap = (1u << bits) - 2 - remaining;
    u32 value = load32(in + (position >> 3)) >> (position & 7) & ((1u << bits) - 1);
    if ((value & low_mask) < cheap) {
      value &= low_mask;
      position += bits - 1;
    } else {
      if (value > low_mask) value -= cheap;
      position += bits;
    }
    u32 weight = value == 0 ? 1 : value - 1;
    if (weight > remaining) return CORRUPT;
    counts[symbol++] = (signed short)((int)value - 1);
    remaining -= weight;
    if (value != 1) continue;
    for (u32 zeros = 3; zeros == 3;) { /* how many further symbols have the count 0 */
      if (position > length * 8) return CORRUPT;
      zeros = load32(in + (position >> 3)) >> (position & 7) & 3;
      position += 2;
      for (u32 i = 0; i < zeros; i++) {
        if (symbol > max_symbol) return CORRUPT;
        counts[symbol++] = 0;
      }
    }
  }
  u32 bytes = (position + 7) >> 3;
  if (bytes > length) return CORRUPT;
  build_fse(table, counts, symbol, log, bases, extra_bits);
  return (int)bytes;
}

/* Reads the weights of a Huffman code (RFC 8878, 4.2.1) and builds it; returns the bytes read, or a negative status. */
static int read_huffman(const u8 *in, u32 length) {
  u8 weights[256];
  u32 count = 0, bytes;
  if (length == 0) return CORRUPT;
  if (in[0] >= 128) {
    count = in[0] - 127u;
    bytes = 1 + (count + 1) / 2;
    if (bytes > length) return CORRUPT;
    for (u32 i = 0; i < count; i++) weights[i] = i & 1 ? in[1 + i / 2] & 15 : in[1 + i / 2] >> 4;
  } else {
    bytes = 1u + in[0];
    if (bytes > length) return CORRUPT;
    int header = read_fse(&weight_table, in + 1, in[0], 255, WEIGHTS_LOG, 0, 0);
    if (header < 0) return CORRUPT;
    struct backward b;
    if (backward_begin(&b, in + 1 + header, in[0] - (u32)header) < 0) return CORRUPT;
    u32 states[2];
    states[0] = backward_take(&b, weight_table.log);
    states[1] = backward_take(&b, weight_table.log);
    if (backward_remaining(&b) < 0) return CORRUPT;
    for (u32 turn = 0;; turn ^= 1) { /* two states alternate until the bits do not suffice for the next step */
      const struct fse_row *row = &weight_table.rows[states[turn]];
      if (count >= 254) return CORRUPT;
      weights[count++] = row->extra_bits;
      backward_refill(&b);
      if (backward_remaining(&b) < row->state_bits) {
        weights[count++] = weight_table.rows[states[turn ^ 1]].extra_bits;
        break;
      }
      states[turn] = row->next + backward_take(&b, row->state_bits);
    }
  }
  u32 sum = 0;
  for (u32 i = 0; i < count; i++) {
    if (weights[i] > HUFFMAN_BITS) return CORRUPT;
    sum += weights[i] ? 1u << (weights[i] - 1) : 0;
  }
  if (sum == 0) return CORRUPT;
  u32 log = high_bit(sum) + 1, rest = (1u << log) - sum;
  if (log > HUFFMAN_BITS || (rest & (rest - 1)) != 0) return CORRUPT;
  weights[count++] = (u8)(high_bit(rest) + 1);
  for (u32 weight = 1, at = 0; weight <= log; weight++)
    for (u32 symbol = 0; symbol < count; symbol++) {
      if (weights[symbol] != weight) continue;
      u16 entry = (u16)(symbol | (log + 1 - weight) << 8);
      for (u32 n = 1u << (weight - 1); n > 0; n--) huffman[at++] = entry;
    }
  s.huffman_log = log;
  return (int)bytes;
}

INLINE u8 huffman_symbol(struct backward *b, u32 shift) {
  u32 entry = huffman[b->bits >> shift];
  b->bits <<= entry >> 8;
  b->used += entry >> 8;
  return (u8)entry;
}

/* Decodes what is left of a Huffman stream; it must end exactly with the last symbol. */
static int huffman_rest(struct backward *b, u8 *out, const u8 *out_end, u32 shift) {
  while (out < out_end) {
    if (b->at + 8 < b->start) return CORRUPT;
    for (u32 i = 0; i < 5 && out < out_end; i++) *out++ = huffman_symbol(b, shift);
    backward_refill(b);
  }
  return backward_remaining(b) == 0 ? MORE : CORRUPT;
}

static int huffman_streams(const u8 *in, u32 length, u8 *out, u32 size, int four) {
  const u32 shift = 64 - s.huffman_log;
  struct backward b0, b1, b2, b3;
  if (!four) {
    if (backward_begin(&b0, in, length) < 0) return CORRUPT;
    return huffman_rest(&b0, out, out + size, shift);
  }
  if (length < 10 || size < 6) return CORRUPT;
  u32 l0 = load16(in), l1 = load16(in + 2), l2 = load16(in + 4), quarter = (size + 3) / 4;
  in += 6;
  length -= 6;
  if (l0 + l1 + l2 >= length || quarter * 3 > size) return CORRUPT;
  u8 *o0 = out, *o1 = o0 + quarter, *o2 = o1 + quarter, *o3 = o2 + quarter, *end = out + size;
  u8 *const e0 = o1, *const e1 = o2, *const e2 = o3;
  if (backward_begin(&b0, in, l0) < 0 || backward_begin(&b1, in + l0, l1) < 0 ||
      backward_begin(&b2, in + l0 + l1, l2) < 0 || backward_begin(&b3, in + l0 + l1 + l2, length - l0 - l1 - l2) < 0)
    return CORRUPT;
  while (end - o3 >= 5) { /* the last stream is the shortest */
    if (unlikely(b0.at + 8 < in)) return CORRUPT;
#define EACH(i) \
  o0[i] = huffman_symbol(&b0, shift); \
  o1[i] = huffman_symbol(&b1, shift); \
  o2[i] = huffman_symbol(&b2, shift); \
  o3[i] = huffman_symbol(&b3, shift);
    EACH(0) EACH(1) EACH(2) EACH(3) EACH(4)
    o0 += 5;
    o1 += 5;
    o2 += 5;
    o3 += 5;
    backward_refill(&b0);
    backward_refill(&b1);
    backward_refill(&b2);
    backward_refill(&b3);
  }
  if (huffman_rest(&b0, o0, e0, shift) < 0 || huffman_rest(&b1, o1, e1, shift) < 0 ||
      huffman_rest(&b2, o2, e2, shift) < 0 || huffman_rest(&b3, o3, end, shift) < 0)
    return CORRUPT;
  return MORE;
}

/* The literals of a block: where they are and how many; returns the bytes read, or a negative status. */
static int read_literals(const u8 *in, u32 length, const u8 **at, u32 *size) {
  if (length == 0) return CORRUPT;
  u32 type = in[0] & 3, format = in[0] >> 2 & 3, header, packed;
  if (type < 2) { /* raw, or one byte repeated */
    header = format == 1 ? 2 : format == 3 ? 3 : 1;
    if (header > length) return CORRUPT;
    *size = header == 1 ? in[0] >> 3 : header == 2 ? load16(in) >> 4 : (load32(in) & 0xffffff) >> 4;
    packed = type == 0 ? *size : 1;
    if (*size > MAX_BLOCK || packed > length - header) return CORRUPT;
    *at = in + header;
    if (type == 1) {
      __builtin_memset(literals, in[header], *size);
      *at = literals;
    }
    return (int)(header + packed);
  }
  header = format < 2 ? 3 : format + 2;
  if (header > length) return CORRUPT;
  u32 bits = format < 2 ? 10 : format == 2 ? 14 : 18, mask = (1u << bits) - 1;
  u64 fields = load64(in) >> 4;
  *size = (u32)fields & mask;
  packed = (u32)(fields >> bits) & mask;
  if (*size > MAX_BLOCK || packed > length - header) return CORRUPT;
  const u8 *stream = in + header, *stream_end = stream + packed;
  if (type == 2) {
    int tree = read_huffman(stream, packed);
    if (tree < 0) return tree;
    stream += tree;
  } else if (s.huffman_log == 0) {
    return CORRUPT;
  }
  if (huffman_streams(stream, (u32)(stream_end - stream), literals, *size, format != 0) < 0) return CORRUPT;
  *at = literals;
  return (int)(header + packed);
}

/* The table for one kind of code; returns the bytes read, or a negative status. */
static int read_sequence_table(struct fse_table *table, const struct code_kind *kind, u32 mode, const u8 *in,
                               u32 length) {
  if (mode == 0) {
    signed short counts[64];
    u32 symbols = kind == &offset_kind ? DEFAULT_OFFSET_CODES : kind->max_symbol + 1;
    for (u32 i = 0; i < symbols; i++) counts[i] = kind->default_counts[i];
    build_fse(table, counts, symbols, kind->default_log, kind->bases, kind->extra_bits);
    return 0;
  }
  if (mode == 1) {
    if (length == 0 || in[0] > kind->max_symbol) return CORRUPT;
    u32 symbol = in[0];
    table->rows[0].base = kind->bases ? kind->bases[symbol] : 1u << symbol;
    table->rows[0].extra_bits = kind->bases ? kind->extra_bits[symbol] : (u8)symbol;
    table->rows[0].state_bits = 0;
    table->rows[0].next = 0;
    table->log = 0;
    table->valid = 1;
    return 1;
  }
  if (mode == 2) return read_fse(table, in, length, kind->max_symbol, kind->max_log, kind->bases, kind->extra_bits);
  return table->valid ? 0 : CORRUPT;
}

static int run_sequences(u32 count, const u8 *in, u32 length, const u8 *literal, const u8 *literal_end, u8 *end) {
  struct backward b;
  u8 *out = s.out, *const base = s.base;
  u32 offset0 = s.offsets[0], offset1 = s.offsets[1], offset2 = s.offsets[2];
  if (backward_begin(&b, in, length) < 0) return CORRUPT;
  u32 literal_state = backward_take(&b, literal_table.log);
  u32 offset_state = backward_take(&b, offset_table.log);
  u32 match_state = backward_take(&b, match_table.log);
  for (;;) {
    const struct fse_row literal_row = literal_table.rows[literal_state];
    const struct fse_row match_row = match_table.rows[match_state];
    const struct fse_row offset_row = offset_table.rows[offset_state];
    backward_refill(&b);
    if (unlikely(b.at + 8 < in)) return CORRUPT;
    u32 value = offset_row.base + backward_take(&b, offset_row.extra_bits);
    u32 match = match_row.base + backward_take(&b, match_row.extra_bits);
    if (unlikely(offset_row.extra_bits + match_row.extra_bits + literal_row.extra_bits > 30)) backward_refill(&b);
    u32 run = literal_row.base + backward_take(&b, literal_row.extra_bits);

    u32 offset;
    if (likely(value > 3)) {
      offset = value - 3;
      offset2 = offset1;
      offset1 = offset0;
      offset0 = offset;
    } else { /* one of the three last offsets; without literals the first is replaced by itself less one */
      u32 which = value - (run != 0);
      if (which == 0) {
        offset = offset0;
      } else {
        offset = which == 1 ? offset1 : which == 2 ? offset2 : offset0 - 1;
        if (which != 1) offset2 = offset1;
        offset1 = offset0;
        offset0 = offset;
      }
    }

    if (--count > 0) {
      literal_state = literal_row.next + backward_take(&b, literal_row.state_bits);
      match_state = match_row.next + backward_take(&b, match_row.state_bits);
      offset_state = offset_row.next + backward_take(&b, offset_row.state_bits);
    }

    if (unlikely(run > (u32)(literal_end - literal))) return CORRUPT;
    if (unlikely((u64)run + match > (u32)(end - out))) return OVERFLOW;
    wasm_v128_store(out, wasm_v128_load(literal));
    if (unlikely(run > 16)) wide_copy(out + 16, literal + 16, run - 16);
    out += run;
    literal += run;
    if (unlikely(offset - 1 >= (u32)(out - base))) return CORRUPT;
    match_copy(out, offset, match);
    out += match;
    if (count == 0) break;
  }
  if (backward_remaining(&b) != 0) return CORRUPT;
  u32 run = (u32)(literal_end - literal);
  if (run > (u32)(end - out)) return OVERFLOW;
  if (run > 0) wide_copy(out, literal, run);
  s.out = out + run;
  s.offsets[0] = offset0;
  s.offsets[1] = offset1;
  s.offsets[2] = offset2;
  return MORE;
}

static int compressed_block(const u8 *in, u32 length, u8 *end) {
  const u8 *literal;
  u32 literal_size;
  int bytes = read_literals(in, length, &literal, &literal_size);
  if (bytes < 0) return bytes;
  in += bytes;
  length -= (u32)bytes;
  if (length == 0) return CORRUPT;
  u32 count = in[0], header = 1;
  if (count >= 128) {
    header = count == 255 ? 3 : 2;
    if (length < header) return CORRUPT;
    count = count == 255 ? load16(in + 1) + 0x7f00u : ((count - 128) << 8) + in[1];
  }
  in += header;
  length -= header;
  if (count == 0) {
    if (length != 0) return CORRUPT;
    if (literal_size > (u32)(end - s.out)) return OVERFLOW;
    if (literal_size > 0) wide_copy(s.out, literal, literal_size);
    s.out += literal_size;
    return MORE;
  }
  if (length == 0 || (in[0] & 3) != 0) return CORRUPT;
  u32 modes = in[0];
  in++;
  length--;
#define READ_TABLE(table, kind, mode) \
  bytes = read_sequence_table(&table, &kind, (mode) & 3, in, length); \
  if (bytes < 0) return bytes; \
  in += bytes; \
  length -= (u32)bytes;
  READ_TABLE(literal_table, literal_kind, modes >> 6)
  READ_TABLE(offset_table, offset_kind, modes >> 4)
  READ_TABLE(match_table, match_kind, modes >> 2)
  return run_sequences(count, in, length, literal, literal + literal_size, end);
}

/* XXH64 with seed 0. */
#define PRIME1 0x9e3779b185ebca87ull
#define PRIME2 0xc2b2ae3d27d4eb4full
#define PRIME3 0x165667b19e3779f9ull
#define PRIME4 0x85ebca77c2b2ae63ull
#define PRIME5 0x27d4eb2f165667c5ull

INLINE u64 rotate(u64 value, u32 n) { return value << n | value >> (64 - n); }
INLINE u64 hash_round(u64 lane, u64 word) { return rotate(lane + word * PRIME2, 31) * PRIME1; }

static void hash_begin(void) {
  s.hashed = s.base;
  s.lanes[0] = PRIME1 + PRIME2;
  s.lanes[1] = PRIME2;
  s.lanes[2] = 0;
  s.lanes[3] = 0 - PRIME1;
}

static void hash_output(void) {
  u64 l0 = s.lanes[0], l1 = s.lanes[1], l2 = s.lanes[2], l3 = s.lanes[3];
  const u8 *p = s.hashed;
  for (; s.out - p >= 32; p += 32) {
    l0 = hash_round(l0, load64(p));
    l1 = hash_round(l1, load64(p + 8));
    l2 = hash_round(l2, load64(p + 16));
    l3 = hash_round(l3, load64(p + 24));
  }
  s.hashed = p;
  s.lanes[0] = l0;
  s.lanes[1] = l1;
  s.lanes[2] = l2;
  s.lanes[3] = l3;
}

static u64 hash_result(void) {
  u64 total = (u64)(s.out - s.base), hash;
  if (total >= 32) {
    hash = rotate(s.lanes[0], 1) + rotate(s.lanes[1], 7) + rotate(s.lanes[2], 12) + rotate(s.lanes[3], 18);
    for (u32 i = 0; i < 4; i++) hash = (hash ^ hash_round(0, s.lanes[i])) * PRIME1 + PRIME4;
  } else {
    hash = PRIME5;
  }
  hash += total;
  const u8 *p = s.hashed;
  for (; s.out - p >= 8; p += 8) hash = rotate(hash ^ hash_round(0, load64(p)), 27) * PRIME1 + PRIME4;
  if (s.out - p >= 4) {
    hash = rotate(hash ^ load32(p) * PRIME1, 23) * PRIME2 + PRIME3;
    p += 4;
  }
  for (; p < s.out; p++) hash = rotate(hash ^ *p * PRIME5, 11) * PRIME1;
  hash = (hash ^ hash >> 33) * PRIME2;
  hash = (hash ^ hash >> 29) * PRIME3;
  return hash ^ hash >> 32;
}

/* The content checksum of `data`: the low half of its XXH64. */
EXPORT(xxh64) u32 xxh64(u8 *data, u32 length) {
  s.base = data;
  s.out = data + length;
  hash_begin();
  hash_output();
  return (u32)hash_result();
}

/* `in` points behind the frame header. */
EXPORT(zstd_begin) void zstd_begin(const u8 *in, const u8 *in_end, u8 *out, u32 window, int checksummed) {
  s.in = in;
  s.in_end = in_end;
  s.base = s.out = out;
  s.block_max = window < MAX_BLOCK ? window : MAX_BLOCK;
  s.huffman_log = 0;
  literal_table.valid = match_table.valid = offset_table.valid = 0;
  s.offsets[0] = 1;
  s.offsets[1] = 4;
  s.offsets[2] = 8;
  s.last_seen = 0;
  s.checksummed = checksummed;
  hash_begin();
}

static int next_block(u8 *end) {
  const u8 *in = s.in;
  if (s.in_end - in < 3) return TRUNCATED;
  u32 header = (u32)in[0] | (u32)in[1] << 8 | (u32)in[2] << 16, type = header >> 1 & 3, size = header >> 3;
  u32 packed = type == 1 ? 1 : size;
  in += 3;
  if (type == 3 || size > s.block_max) return CORRUPT;
  if (packed > (u32)(s.in_end - in)) return TRUNCATED;
  const u8 *start = s.out;
  if (type == 2) {
    int status = compressed_block(in, size, end);
    if (status != MORE) return status;
    if ((u32)(s.out - start) > s.block_max) return CORRUPT;
  } else {
    if (size > (u32)(end - s.out)) return OVERFLOW;
    if (type == 1)
      __builtin_memset(s.out, in[0], size);
    else
      __builtin_memcpy(s.out, in, size);
    s.out += size;
  }
  s.in = in + packed;
  s.last_seen = header & 1;
  if (s.checksummed) hash_output();
  return MORE;
}

/* Whole blocks (at most 128 KiB of output each) until `target` is reached. */
EXPORT(zstd_run) int zstd_run(const u8 *target, u8 *end) {
  while (s.out < target) {
    if (s.last_seen) {
      if (!s.checksummed) return DONE;
      if (s.in_end - s.in < 4) return TRUNCATED;
      if (load32(s.in) != (u32)hash_result()) return CHECKSUM;
      s.in += 4;
      return DONE;
    }
    int status = next_block(end);
    if (status != MORE) return status;
  }
  return MORE;
}
