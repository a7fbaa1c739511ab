/*
 * Decoders for LZMA and LZMA2, the x86 branch filter of xz, and its checks. The format: "LZMA specification" of the LZMA SDK
 * and "The .xz File Format" 1.2, sections 5.3.1 (LZMA2) and 5.3.2 (BCJ).
 *
 * The output is its own dictionary: no window is copied. A kernel's decompressor does the same, and so a distance
 * beyond the dictionary size, but inside the output, is not an error here either.
 */
#include "codec.h"
#include "crc32.h"
#include "lzma-model.h"
#include "x86-filter.h"

static struct {
  const u8 *in, *in_end;
  u8 *base, *out; /* base: first byte of the dictionary */
  u32 range, code;
  u32 state, rep0, rep1, rep2, rep3;
  u32 lc, lp_mask, pos_mask;
  int need_dictionary, need_properties; /* LZMA2 */
} s;

/*
 * The range decoder. `range`, `code` and `in` are locals of decode(): everything depends on their staying in registers.
 * Where a bit is predictable, a branch (IF_ZERO); where it is close to random, as in the bits of literals and slots,
 * selection without a branch (TREE_BIT).
 */
#define NORMALIZE \
  if (unlikely(range < RANGE_TOP)) { \
    range <<= 8; \
    code = (code << 8) | *in++; \
  }

#define IF_ZERO(prob) \
  u16 *prob_ = (prob); \
  u32 value_ = *prob_; \
  NORMALIZE \
  u32 bound_ = (range >> PROB_BITS) * value_; \
  if (code < bound_)

#define ZERO \
  range = bound_; \
  *prob_ = (u16)(value_ + (((1u << PROB_BITS) - value_) >> MOVE_BITS));

#define ONE \
  range -= bound_; \
  code -= bound_; \
  *prob_ = (u16)(value_ - (value_ >> MOVE_BITS));

#define SELECT_BIT(prob, symbol, also) \
  do { \
    u16 *prob_ = (prob); \
    u32 value_ = *prob_; \
    NORMALIZE \
    u32 bound_ = (range >> PROB_BITS) * value_; \
    u32 range1_ = range - bound_, code1_ = code - bound_; \
    int zero_ = code < bound_; \
    range = zero_ ? bound_ : range1_; \
    code = zero_ ? code : code1_; \
    *prob_ = (u16)(value_ - (u32)((int)(value_ + (zero_ ? 31u - 2048u : 0u)) >> MOVE_BITS)); \
    symbol = symbol * 2 + !zero_; \
    also; \
  } while (0)

#define TREE_BIT(tree, symbol) SELECT_BIT((tree) + (symbol), symbol, (void)0)
#define TREE3(tree, symbol) TREE_BIT(tree, symbol); TREE_BIT(tree, symbol); TREE_BIT(tree, symbol)
#define TREE6(tree, symbol) TREE3(tree, symbol); TREE3(tree, symbol)
#define TREE8(tree, symbol) TREE6(tree, symbol); TREE_BIT(tree, symbol); TREE_BIT(tree, symbol)

#define MATCHED_BIT \
  do { \
    match_byte <<= 1; \
    u32 bit = match_byte & offset; \
    SELECT_BIT(tree + offset + bit + symbol, symbol, offset = zero_ ? offset & ~bit : bit); \
  } while (0)

#define REVERSE_BIT(tree, add) \
  do { \
    IF_ZERO((tree) + symbol) { \
      ZERO symbol = symbol * 2; \
    } else { \
      ONE symbol = symbol * 2 + 1; \
      rep0 += (add); \
    } \
  } while (0)

/* Decodes symbols until `target` is reached or passed (by at most 287 bytes), the input is used up, or the end marker. */
static int decode(const u8 *target) {
  const u8 *in = s.in, *const in_end = s.in_end, *const base = s.base;
  u8 *out = s.out;
  u32 range = s.range, code = s.code, state = s.state;
  u32 rep0 = s.rep0, rep1 = s.rep1, rep2 = s.rep2, rep3 = s.rep3;
  const u32 lc = s.lc, lp_mask = s.lp_mask, pos_mask = s.pos_mask;
  int status = MORE;

  while (out < target && in <= in_end) {
    u32 position = (u32)(out - base), pos_state = position & pos_mask, length;
    struct length_probs *lengths;
    {
      IF_ZERO(&probs.is_match[state * POS_STATES + pos_state]) {
        ZERO
        u32 previous = position ? out[-1] : 0, symbol = 1;
        u16 *tree = probs.literal + 0x300 * (((position & lp_mask) << lc) + (previous >> (8 - lc)));
        if (state < LITERAL_STATES) {
          TREE8(tree, symbol);
          state = state < 4 ? 0 : state - 3;
        } else {
          u32 match_byte = out[-(int)rep0 - 1], offset = 0x100;
          MATCHED_BIT; MATCHED_BIT; MATCHED_BIT; MATCHED_BIT; MATCHED_BIT; MATCHED_BIT; MATCHED_BIT; MATCHED_BIT;
          state = state < 10 ? state - 3 : state - 6;
        }
        *out++ = (u8)symbol;
        continue;
      }
      ONE
    }
    {
      IF_ZERO(&probs.is_rep[state]) {
        ZERO
        rep3 = rep2;
        rep2 = rep1;
        rep1 = rep0;
        lengths = &probs.match_length;
        state = state < LITERAL_STATES ? 7 : 10;
      } else {
        ONE
        IF_ZERO(&probs.is_rep0[state]) {
          ZERO
          IF_ZERO(&probs.is_rep0_long[state * POS_STATES + pos_state]) {
            ZERO
            state = state < LITERAL_STATES ? 9 : 11;
            if (unlikely(rep0 >= position)) {
              status = CORRUPT;
              break;
            }
            *out = out[-(int)rep0 - 1];
            out++;
            continue;
          }
          ONE
        } else {
          ONE
          u32 distance;
          IF_ZERO(&probs.is_rep1[state]) {
            ZERO
            distance = rep1;
          } else {
            ONE
            IF_ZERO(&probs.is_rep2[state]) {
              ZERO
              distance = rep2;
            } else {
              ONE
              distance = rep3;
              rep3 = rep2;
            }
            rep2 = rep1;
          }
          rep1 = rep0;
          rep0 = distance;
        }
        lengths = &probs.rep_length;
        state = state < LITERAL_STATES ? 8 : 11;
      }
    }
    {
      u32 symbol = 1;
      IF_ZERO(&lengths->choice) {
        ZERO
        u16 *tree = lengths->low[pos_state];
        TREE3(tree, symbol);
        length = symbol - 8 + 2;
      } else {
        ONE
        IF_ZERO(&lengths->choice2) {
          ZERO
          u16 *tree = lengths->mid[pos_state];
          TREE3(tree, symbol);
          length = symbol - 8 + 10;
        } else {
          ONE
          u16 *tree = lengths->high;
          TREE8(tree, symbol);
          length = symbol - 256 + 18;
        }
      }
    }
    if (lengths == &probs.match_length) {
      u16 *tree = probs.slot[length < 5 ? length - 2 : 3];
      u32 symbol = 1;
      TREE6(tree, symbol);
      u32 slot = symbol - 64;
      if (slot < 4) {
        rep0 = slot;
      } else {
        u32 bits = (slot >> 1) - 1;
        rep0 = (2 | (slot & 1)) << bits;
        symbol = 1;
        if (slot < 14) {
          u16 *special = probs.special + rep0 - slot;
          u32 add = 1;
          do {
            REVERSE_BIT(special, add);
            add <<= 1;
          } while (--bits);
        } else {
          u32 high = 2 | (slot & 1);
          bits -= 4;
          do {
            NORMALIZE
            range >>= 1;
            code -= range;
            u32 mask = 0u - (code >> 31);
            code += range & mask;
            high = high * 2 + mask + 1;
          } while (--bits);
          rep0 = high << 4;
          REVERSE_BIT(probs.align, 1);
          REVERSE_BIT(probs.align, 2);
          REVERSE_BIT(probs.align, 4);
          REVERSE_BIT(probs.align, 8);
          if (unlikely(rep0 == 0xffffffffu)) {
            NORMALIZE
            status = code == 0 ? DONE : CORRUPT;
            break;
          }
        }
      }
    }
    if (unlikely(rep0 >= position)) {
      status = CORRUPT;
      break;
    }
    match_copy(out, rep0 + 1, length);
    out += length;
  }

  s.in = in;
  s.out = out;
  s.range = range;
  s.code = code;
  s.state = state;
  s.rep0 = rep0;
  s.rep1 = rep1;
  s.rep2 = rep2;
  s.rep3 = rep3;
  return in > in_end ? TRUNCATED : status;
}

static void reset_state(void) {
  u16 *all = (u16 *)&probs;
  for (u32 i = 0; i < sizeof probs / sizeof *all; i++) all[i] = PROB_INIT;
  s.state = s.rep0 = s.rep1 = s.rep2 = s.rep3 = 0;
}

static int set_properties(u32 byte) {
  if (byte >= 9 * 5 * 5) return CORRUPT;
  u32 lc = byte % 9, lp = byte / 9 % 5, pb = byte / 45;
  if (lc + lp > MAX_LC_LP) return UNSUPPORTED;
  s.lc = lc;
  s.lp_mask = (1u << lp) - 1;
  s.pos_mask = (1u << pb) - 1;
  return MORE;
}

static int start_range_decoder(void) {
  if (s.in_end - s.in < 5) return TRUNCATED;
  if (s.in[0] != 0) return CORRUPT;
  s.range = 0xffffffffu;
  s.code = __builtin_bswap32(load32(s.in + 1));
  s.in += 5;
  return MORE;
}

EXPORT(output) u8 *output(void) { return s.out; }
EXPORT(input) const u8 *input(void) { return s.in; }

/* `in` points behind the header of an LZMA-alone file. */
EXPORT(lzma_begin) int lzma_begin(u32 properties, const u8 *in, const u8 *in_end, u8 *out) {
  s.in = in;
  s.in_end = in_end;
  s.base = s.out = out;
  int status = set_properties(properties);
  if (status != MORE) return status;
  reset_state();
  return start_range_decoder();
}

/* Passes `target` by 287 bytes at most. */
EXPORT(lzma_run) int lzma_run(const u8 *target) { return decode(target); }

/* Ends a stream that has no end marker. */
EXPORT(lzma_finish) int lzma_finish(void) {
  if (s.range < RANGE_TOP) s.code = (s.code << 8) | *s.in++;
  if (s.in > s.in_end) return TRUNCATED;
  return s.code == 0 ? DONE : CORRUPT;
}

EXPORT(lzma2_begin) void lzma2_begin(const u8 *in, u8 *out) {
  s.in = in;
  s.base = s.out = out;
  s.need_dictionary = s.need_properties = 1;
}

static int lzma2_chunk(const u8 *in_end, const u8 *end) {
  const u8 *in = s.in;
  u32 control = *in++;
  if (control >= 0xe0 || control == 1) {
    s.base = s.out;
    s.need_dictionary = 0;
    s.need_properties = 1;
  } else if (s.need_dictionary) {
    return CORRUPT;
  }
  if (control < 0x80) {
    if (control > 2) return CORRUPT;
    if (in_end - in < 2) return TRUNCATED;
    u32 size = ((u32)in[0] << 8 | in[1]) + 1;
    in += 2;
    if ((u32)(in_end - in) < size) return TRUNCATED;
    if ((u32)(end - s.out) < size) return OVERFLOW;
    __builtin_memcpy(s.out, in, size);
    s.out += size;
    s.in = in + size;
    return MORE;
  }
  if (in_end - in < 5) return TRUNCATED;
  u32 size = ((control & 0x1f) << 16 | (u32)in[0] << 8 | in[1]) + 1;
  u32 packed = ((u32)in[2] << 8 | in[3]) + 1;
  in += 4;
  if (control >= 0xc0) {
    int status = set_properties(*in++);
    if (status != MORE) return status;
    s.need_properties = 0;
  } else if (s.need_properties) {
    return CORRUPT;
  }
  if (control >= 0xa0) reset_state();
  if ((u32)(in_end - in) < packed) return TRUNCATED;
  if ((u32)(end - s.out) < size) return OVERFLOW;
  s.in = in;
  s.in_end = in + packed;
  int status = start_range_decoder();
  if (status != MORE) return CORRUPT;
  const u8 *chunk_end = s.out + size;
  status = decode(chunk_end);
  if (status != MORE) return CORRUPT;
  if (s.range < RANGE_TOP) s.code = (s.code << 8) | *s.in++;
  return s.out == chunk_end && s.in == s.in_end && s.code == 0 ? MORE : CORRUPT;
}

/* Whole chunks (at most 2 MiB of output each) until `target` is reached. */
EXPORT(lzma2_run) int lzma2_run(const u8 *in_end, const u8 *target, const u8 *end) {
  while (s.out < target) {
    if (s.in >= in_end) return TRUNCATED;
    if (*s.in == 0) {
      s.in++;
      return DONE;
    }
    int status = lzma2_chunk(in_end, end);
    if (status != MORE) return status;
  }
  return MORE;
}

/* CRC-64 (ECMA-182, reflected), eight bytes at a time; what xz itself, but not the kernel's build, uses. */
static u64 crc64_table[8][256];

static void fill_crc64_table(void) {
  for (u32 i = 0; i < 256; i++) {
    u64 crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xc96c5795d7870f42ull & (0 - (crc & 1)));
    crc64_table[0][i] = crc;
  }
  for (u32 slice = 1; slice < 8; slice++)
    for (u32 i = 0; i < 256; i++) {
      u64 crc = crc64_table[slice - 1][i];
      crc64_table[slice][i] = crc >> 8 ^ crc64_table[0][crc & 0xff];
    }
}

EXPORT(crc64) u64 crc64(const u8 *data, u32 length) {
  u64 crc = ~0ull;
  if (crc64_table[0][1] == 0) fill_crc64_table();
  for (; length >= 8; data += 8, length -= 8) {
    u64 word = load64(data) ^ crc;
    crc = 0;
    for (u32 i = 0; i < 8; i++) crc ^= crc64_table[7 - i][word >> (8 * i) & 0xff];
  }
  for (; length > 0; data++, length--) crc = crc >> 8 ^ crc64_table[0][(crc ^ *data) & 0xff];
  return ~crc;
}
