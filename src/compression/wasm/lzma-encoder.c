/*
 * LZMA and LZMA2 compression: matches from binary trees, the cheapest way through the next few thousand bytes by
 * dynamic programming over prices, adaptive binary range coding. Prices are in 16ths of a bit.
 */
#include "crc32.h"
#include "lzma-model.h"
#include "x86-filter.h"

#define LC 3 /* as xz and lzma choose by default */
#define LP 0
#define PB 2
#define POS_MASK ((1u << PB) - 1)

#define MIN_MATCH 2
#define MAX_MATCH 273
#define LENGTHS (MAX_MATCH - MIN_MATCH + 1)
#define WAY 4096 /* positions of one dynamic program */
#define PLACES (WAY + 2 * MAX_MATCH + 8)
#define FRESH 1024 /* positions for which prices hold */
#define INFINITE 0x3fffffffu

#define LITERAL_STEP 0xffffffffu /* `back` of a literal; below 4 a repeated distance, else a distance + 4 */

static struct {
  const u8 *base;
  u32 length, at;
  u8 *out;
  u32 nice, depth;
  /* range coder */
  u64 low;
  u32 range, pending;
  u8 cache;
  /* coder */
  u32 state, reps[4];
  int lzma2, need_state_reset, need_properties, need_dictionary;
  int ended;
  u32 prices_until;
} s;

/* ---- Matches: a binary tree for each hash of four bytes, and the last positions with two and three equal ones ---- */

#define HASH2_SIZE (1u << 16)
#define HASH3_BITS 16
#define HASH4_BITS 22

static struct {
  u32 hash2[HASH2_SIZE], hash3[1 << HASH3_BITS], hash4[1 << HASH4_BITS]; /* position + 1; 0: none */
  u32 *sons;  /* two a position */
  u32 window; /* positions that `sons` holds */
  u32 slot;   /* of the next position: position % window */
  u32 at;     /* next position to be inserted */
} tree;

struct match {
  u32 length, distance; /* distance - 1 */
};

INLINE u32 equal_bytes(const u8 *a, const u8 *b, u32 from, u32 limit) {
  while (from < limit) {
    u64 difference = load64(a + from) ^ load64(b + from);
    if (difference != 0) {
      from += (u32)__builtin_ctzll(difference) >> 3;
      return from < limit ? from : limit;
    }
    from += 8;
  }
  return limit;
}

/* Inserts the next position; if `matches`, also yields ever longer matches, each at its nearest distance. */
INLINE u32 tree_insert(struct match *matches) {
  const u32 at = tree.at++, slot = tree.slot, rest = s.length - at;
  const u8 *here = s.base + at;
  u32 count = 0, longest = 1, limit = rest < s.nice ? rest : s.nice;
  tree.slot = slot + 1 == tree.window ? 0 : slot + 1;
  if (limit < 4) {
    tree.sons[slot * 2] = tree.sons[slot * 2 + 1] = 0;
    return 0;
  }
  const u32 word = load32(here), hash2 = word & 0xffff, hash3 = (word << 8) * 2654435761u >> (32 - HASH3_BITS),
            hash4 = word * 2654435761u >> (32 - HASH4_BITS);
  const u32 two = tree.hash2[hash2], three = tree.hash3[hash3];
  u32 candidate = tree.hash4[hash4];
  tree.hash2[hash2] = tree.hash3[hash3] = tree.hash4[hash4] = at + 1;
  u32 *left = &tree.sons[slot * 2 + 1], *right = &tree.sons[slot * 2];
  u32 left_length = 0, right_length = 0;

  if (matches) {
    if (two != 0 && at + 1 - two < tree.window) {
      longest = equal_bytes(here - (at + 1 - two), here, 2, limit);
      matches[count++] = (struct match){longest, at - two};
    }
    if (three != 0 && three != two && at + 1 - three < tree.window) {
      const u8 *there = here - (at + 1 - three);
      if (((load32(there) ^ word) & 0xffffff) == 0) {
        u32 length = equal_bytes(there, here, 3, limit);
        if (length > longest) {
          longest = length;
          matches[count++] = (struct match){longest, at - three};
        }
      }
    }
  }
  for (u32 depth = s.depth; candidate != 0 && depth > 0; depth--) {
    u32 distance = at + 1 - candidate;
    if (distance >= tree.window) break;
    u32 *pair = &tree.sons[(slot >= distance ? slot - distance : slot + tree.window - distance) * 2];
    const u8 *there = here - distance;
    u32 length = left_length < right_length ? left_length : right_length;
    length = equal_bytes(there, here, length, limit);
    if (length > longest) {
      longest = length;
      if (matches) matches[count++] = (struct match){length, distance - 1};
    }
    if (length == limit) {
      *left = pair[1];
      *right = pair[0];
      goto found;
    }
    if (there[length] < here[length]) {
      *right = candidate;
      right = pair + 1;
      candidate = *right;
      right_length = length;
    } else {
      *left = candidate;
      left = pair;
      candidate = *left;
      left_length = length;
    }
  }
  *left = *right = 0;
found:
  /* The trees compare no more than `nice` bytes. */
  if (matches && count > 0 && longest == s.nice) {
    struct match *last = &matches[count - 1];
    u32 most = rest < MAX_MATCH ? rest : MAX_MATCH;
    last->length = equal_bytes(here - last->distance - 1, here, last->length, most);
  }
  return count;
}

static void tree_skip(u32 count) {
  while (count-- > 0) tree_insert(0);
}

/* ---- Prices ---- */

static u8 bit_prices[1 << (PROB_BITS - 4)];
static struct {
  u32 lengths[2][1 << PB][LENGTHS]; /* of matches, of repeated distances */
  u32 slots[4][64], near[4][128], align[16];
} prices;

static void fill_bit_prices(void) {
  for (u32 i = 8; i < 1u << PROB_BITS; i += 16) {
    u32 value = i, bits = 0;
    for (int j = 0; j < 4; j++) { /* log2 in 16ths: square four times, count the halvings */
      value *= value;
      bits <<= 1;
      for (; value >= 1u << 16; bits++) value >>= 1;
    }
    bit_prices[i >> 4] = (u8)((PROB_BITS << 4) - 15 - bits);
  }
}

INLINE u32 price0(u32 prob) { return bit_prices[prob >> 4]; }
INLINE u32 price1(u32 prob) { return bit_prices[(prob ^ ((1u << PROB_BITS) - 1)) >> 4]; }
INLINE u32 bit_price(u32 prob, u32 bit) { return bit_prices[(prob ^ ((0u - bit) & ((1u << PROB_BITS) - 1))) >> 4]; }

INLINE u32 tree_price(const u16 *probs_, u32 bits, u32 symbol) {
  u32 price = 0;
  symbol |= 1u << bits;
  while (symbol != 1) {
    u32 bit = symbol & 1;
    symbol >>= 1;
    price += bit_price(probs_[symbol], bit);
  }
  return price;
}

INLINE u32 reverse_price(const u16 *probs_, u32 bits, u32 symbol) {
  u32 price = 0, node = 1;
  for (; bits > 0; bits--) {
    u32 bit = symbol & 1;
    symbol >>= 1;
    price += bit_price(probs_[node], bit);
    node = node * 2 + bit;
  }
  return price;
}

static void fill_length_prices(const struct length_probs *l, u32 (*to)[LENGTHS]) {
  u32 high[256], short0 = price0(l->choice), long0 = price1(l->choice), mid = long0 + price0(l->choice2);
  u32 top = long0 + price1(l->choice2);
  for (u32 i = 0; i < 256; i++) high[i] = top + tree_price(l->high, 8, i);
  for (u32 pos = 0; pos <= POS_MASK; pos++) {
    for (u32 i = 0; i < 8; i++) {
      to[pos][i] = short0 + tree_price(l->low[pos], 3, i);
      to[pos][i + 8] = mid + tree_price(l->mid[pos], 3, i);
    }
    __builtin_memcpy(to[pos] + 16, high, sizeof high);
  }
}

INLINE u32 slot_of(u32 distance) {
  if (distance < 4) return distance;
  u32 top = 31 - (u32)__builtin_clz(distance);
  return top * 2 + (distance >> (top - 1) & 1);
}

static void fill_prices(void) {
  fill_length_prices(&probs.match_length, prices.lengths[0]);
  fill_length_prices(&probs.rep_length, prices.lengths[1]);
  for (u32 i = 0; i < 16; i++) prices.align[i] = reverse_price(probs.align, 4, i);
  for (u32 kind = 0; kind < 4; kind++) {
    for (u32 slot = 0; slot < 64; slot++) {
      u32 direct = slot < 14 ? 0 : (slot >> 1) - 1 - 4;
      prices.slots[kind][slot] = tree_price(probs.slot[kind], 6, slot) + (direct << 4);
    }
    for (u32 distance = 0; distance < 128; distance++) {
      u32 slot = slot_of(distance), price = prices.slots[kind][slot];
      if (slot >= 4) {
        u32 bits = (slot >> 1) - 1, first = (2 | (slot & 1)) << bits;
        price += reverse_price(probs.special + first - slot, bits, distance - first);
      }
      prices.near[kind][distance] = price;
    }
  }
}

INLINE u32 distance_price(u32 distance, u32 length) {
  u32 kind = length < 5 ? length - 2 : 3;
  if (distance < 128) return prices.near[kind][distance];
  return prices.slots[kind][slot_of(distance)] + prices.align[distance & 15];
}

INLINE u16 *literal_probs(u32 at) {
  u32 previous = at ? s.base[at - 1] : 0;
  return probs.literal + 0x300 * (previous >> (8 - LC));
}

static u32 literal_price(u32 at, u32 state, u32 rep0) {
  const u16 *tree_ = literal_probs(at);
  u32 symbol = s.base[at] | 0x100u, price = 0;
  if (state < LITERAL_STATES) {
    while (symbol != 1) {
      u32 bit = symbol & 1;
      symbol >>= 1;
      price += bit_price(tree_[symbol], bit);
    }
    return price;
  }
  u32 match_byte = s.base[at - rep0 - 1], offset = 0x100, node = 1;
  for (u32 i = 0; i < 8; i++) {
    u32 bit = symbol >> 7 & 1, match_bit;
    symbol <<= 1;
    match_byte <<= 1;
    match_bit = match_byte & offset;
    price += bit_price(tree_[offset + match_bit + node], bit);
    node = node * 2 + bit;
    offset &= bit ? match_bit : ~match_bit;
  }
  return price;
}

/* ---- The cheapest way ---- */

struct place {
  u32 price;
  u32 from, back; /* the last step: where it began and what it was */
  u32 state, reps[4];
  /* If not 0, the last step is really three: a match up to `literal` - 1 (none, if it begins there), a literal, and
     then the last distance again. */
  u32 literal;
};

static struct place places[PLACES];

struct symbol {
  u32 length, back;
};
static struct symbol way[PLACES];
static u32 way_length, way_at;

INLINE u32 after_literal(u32 state) { return state < 4 ? 0 : state < 10 ? state - 3 : state - 6; }
INLINE u32 after_match(u32 state) { return state < LITERAL_STATES ? 7 : 10; }
INLINE u32 after_rep(u32 state) { return state < LITERAL_STATES ? 8 : 11; }
INLINE u32 after_short_rep(u32 state) { return state < LITERAL_STATES ? 9 : 11; }

/* Applies a step to a coder's state. */
INLINE void apply(u32 *state, u32 *reps, u32 length, u32 back) {
  if (back == LITERAL_STEP) {
    *state = after_literal(*state);
  } else if (back >= 4) {
    reps[3] = reps[2];
    reps[2] = reps[1];
    reps[1] = reps[0];
    reps[0] = back - 4;
    *state = after_match(*state);
  } else {
    u32 distance = reps[back];
    for (u32 i = back; i > 0; i--) reps[i] = reps[i - 1];
    reps[0] = distance;
    *state = length == 1 ? after_short_rep(*state) : after_rep(*state);
  }
}

static u32 reached; /* the farthest place that has a price */

INLINE void reach(u32 to) {
  while (reached < to) places[++reached].price = INFINITE;
}

INLINE void offer(u32 from, u32 to, u32 price, u32 back) {
  struct place *p = &places[to];
  if (price < p->price) {
    p->price = price;
    p->from = from;
    p->back = back;
    p->literal = 0;
  }
}

INLINE u32 rep_price(u32 state, u32 pos_state, u32 rep) {
  if (rep == 0) return price0(probs.is_rep0[state]) + price1(probs.is_rep0_long[state * POS_STATES + pos_state]);
  u32 price = price1(probs.is_rep0[state]);
  if (rep == 1) return price + price0(probs.is_rep1[state]);
  return price + price1(probs.is_rep1[state]) + bit_price(probs.is_rep2[state], rep - 2);
}

/*
 * Tries to go on behind a match of `length` at `distance` with a literal and then the same distance again. `state` is
 * the one behind the match, `price` leads up to there.
 */
INLINE void offer_return(u32 place, u32 at, u32 rest, u32 length, u32 distance, u32 state, u32 price, u32 back) {
  if (length + 3 > rest) return;
  const u8 *here = s.base + at, *there = here - distance - 1;
  u32 most = rest < s.nice + length + 1 ? rest : s.nice + length + 1;
  if (load16(there + length + 1) != load16(here + length + 1)) return;
  u32 end = equal_bytes(there, here, length + 3, most), pos = at + length;
  price += price0(probs.is_match[state * POS_STATES + (pos & POS_MASK)]) + literal_price(pos, state, distance);
  state = after_literal(state);
  u32 pos_state = (pos + 1) & POS_MASK, again = end - length - 1;
  price += price1(probs.is_match[state * POS_STATES + pos_state]) + price1(probs.is_rep[state]) +
           rep_price(state, pos_state, 0) + prices.lengths[1][pos_state][again - MIN_MATCH];
  reach(place + end);
  struct place *p = &places[place + end];
  if (price < p->price) {
    p->price = price;
    p->from = place;
    p->back = back;
    p->literal = place + length + 1;
  }
}

/* Fills `way` from the steps that lead to `end`. */
static void trace(u32 end) {
  u32 count = 0;
  for (u32 at = end; at > 0;) {
    struct place *p = &places[at];
    if (p->literal) {
      u32 literal = p->literal - 1;
      way[count++] = (struct symbol){at - literal - 1, 0};
      way[count++] = (struct symbol){1, LITERAL_STEP};
      if (literal > p->from) way[count++] = (struct symbol){literal - p->from, p->back};
    } else {
      way[count++] = (struct symbol){at - p->from, p->back};
    }
    at = p->from;
  }
  for (u32 i = 0; i < count / 2; i++) {
    struct symbol symbol = way[i];
    way[i] = way[count - 1 - i];
    way[count - 1 - i] = symbol;
  }
  way_length = count;
  way_at = 0;
}

static void find_way(void) {
  struct match matches[MAX_MATCH];
  places[0].price = 0;
  reached = 0;
  if (s.at >= s.prices_until) {
    fill_prices();
    s.prices_until = s.at + FRESH;
  }

  for (u32 place = 0;; place++) {
    struct place *p = &places[place];
    const u32 at = s.at + place, rest = s.length - at;
    if (place >= WAY || (place > 0 && place == reached)) { /* in the second case every way leads through here */
      trace(place);
      return;
    }
    if (place == 0) {
      p->state = s.state;
      __builtin_memcpy(p->reps, s.reps, sizeof p->reps);
    } else {
      struct place *from = &places[p->from];
      u32 state = from->state, reps[4] = {from->reps[0], from->reps[1], from->reps[2], from->reps[3]};
      if (p->literal) {
        u32 literal = p->literal - 1;
        if (literal > p->from) apply(&state, reps, literal - p->from, p->back);
        apply(&state, reps, 1, LITERAL_STEP);
        apply(&state, reps, place - literal - 1, 0);
      } else {
        apply(&state, reps, place - p->from, p->back);
      }
      p->state = state;
      __builtin_memcpy(p->reps, reps, sizeof reps);
    }
    const u32 state = p->state, pos_state = at & POS_MASK, price = p->price;
    const u8 *here = s.base + at;
    const u32 most = rest < MAX_MATCH ? rest : MAX_MATCH;

    u32 count = tree_insert(matches);
    u32 longest = count ? matches[count - 1].length : 0;

    /* A match that is long enough is taken, without looking for anything better. */
    u32 rep_lengths[4], best_rep = 0;
    for (u32 i = 0; i < 4; i++) {
      u32 distance = p->reps[i];
      rep_lengths[i] = 0;
      if (distance >= at || most < 2) continue;
      const u8 *there = here - distance - 1;
      if (load16(there) != load16(here)) continue;
      rep_lengths[i] = equal_bytes(there, here, 2, most);
      if (rep_lengths[i] > rep_lengths[best_rep]) best_rep = i;
    }
    if (rep_lengths[best_rep] >= s.nice || longest >= s.nice) {
      u32 length = longest, back = count ? matches[count - 1].distance + 4 : 0;
      if (rep_lengths[best_rep] >= s.nice) {
        length = rep_lengths[best_rep];
        back = best_rep;
      }
      tree_skip(length - 1);
      places[place + length].from = place;
      places[place + length].back = back;
      places[place + length].literal = 0;
      trace(place + length);
      return;
    }

    reach(place + 1);
    const u32 match_prob = probs.is_match[state * POS_STATES + pos_state];
    const u32 literal = price + price0(match_prob) + literal_price(at, state, p->reps[0]);
    offer(place, place + 1, literal, LITERAL_STEP);
    const u32 any_match = price + price1(match_prob), any_rep = any_match + price1(probs.is_rep[state]);
    const int same_as_rep0 = p->reps[0] < at && here[0] == here[-(int)p->reps[0] - 1];
    if (same_as_rep0) {
      u32 prob = probs.is_rep0_long[state * POS_STATES + pos_state];
      offer(place, place + 1, any_rep + price0(probs.is_rep0[state]) + price0(prob), 0);
    }
    if (rest < 2) continue;

    /* literal, then the last distance again */
    if (!same_as_rep0 && p->reps[0] < at && rest >= 3 && load16(here + 1) == load16(here - p->reps[0])) {
      u32 length = equal_bytes(here + 1 - p->reps[0] - 1, here + 1, 2, rest - 1 < s.nice ? rest - 1 : s.nice);
      u32 state2 = after_literal(state), pos2 = (at + 1) & POS_MASK;
      u32 price2 = literal + price1(probs.is_match[state2 * POS_STATES + pos2]) + price1(probs.is_rep[state2]) +
                   rep_price(state2, pos2, 0) + prices.lengths[1][pos2][length - MIN_MATCH];
      reach(place + 1 + length);
      struct place *to = &places[place + 1 + length];
      if (price2 < to->price) {
        to->price = price2;
        to->from = place;
        to->literal = place + 1;
      }
    }

    u32 start = 2;
    for (u32 rep = 0; rep < 4; rep++) {
      u32 length = rep_lengths[rep];
      if (length < 2) continue;
      reach(place + length);
      u32 base = any_rep + rep_price(state, pos_state, rep);
      for (u32 n = 2; n <= length; n++) offer(place, place + n, base + prices.lengths[1][pos_state][n - 2], rep);
      offer_return(place, at, rest, length, p->reps[rep], after_rep(state),
                   base + prices.lengths[1][pos_state][length - 2], rep);
      if (rep == 0) start = length + 1;
    }

    if (longest >= start) {
      reach(place + longest);
      u32 base = any_match + price0(probs.is_rep[state]), length = start;
      for (u32 i = 0; i < count; i++) {
        u32 distance = matches[i].distance;
        for (; length <= matches[i].length; length++) {
          u32 total = base + prices.lengths[0][pos_state][length - 2] + distance_price(distance, length);
          offer(place, place + length, total, distance + 4);
          if (length == matches[i].length)
            offer_return(place, at, rest, length, distance, after_match(state), total, distance + 4);
        }
      }
    }
  }
}

/* ---- Coding ---- */

static void shift_low(void) {
  if ((u32)s.low < 0xff000000u || s.low >> 32 != 0) {
    u8 carry = (u8)(s.low >> 32), byte = s.cache;
    do {
      *s.out++ = (u8)(byte + carry);
      byte = 0xff;
    } while (--s.pending != 0);
    s.cache = (u8)(s.low >> 24);
  }
  s.pending++;
  s.low = (s.low & 0x00ffffff) << 8;
}

static void coder_begin(void) {
  s.low = 0;
  s.range = 0xffffffffu;
  s.pending = 1;
  s.cache = 0;
}

static void coder_flush(void) {
  for (int i = 0; i < 5; i++) shift_low();
}

INLINE void put_bit(u16 *prob, u32 bit) {
  u32 value = *prob, bound = (s.range >> PROB_BITS) * value;
  if (bit == 0) {
    s.range = bound;
    *prob = (u16)(value + (((1u << PROB_BITS) - value) >> MOVE_BITS));
  } else {
    s.low += bound;
    s.range -= bound;
    *prob = (u16)(value - (value >> MOVE_BITS));
  }
  if (s.range < RANGE_TOP) {
    s.range <<= 8;
    shift_low();
  }
}

static void put_tree(u16 *tree_, u32 bits, u32 symbol) {
  u32 node = 1;
  while (bits > 0) {
    u32 bit = symbol >> --bits & 1;
    put_bit(&tree_[node], bit);
    node = node * 2 + bit;
  }
}

static void put_reverse(u16 *tree_, u32 bits, u32 symbol) {
  u32 node = 1;
  for (; bits > 0; bits--) {
    u32 bit = symbol & 1;
    symbol >>= 1;
    put_bit(&tree_[node], bit);
    node = node * 2 + bit;
  }
}

static void put_direct(u32 value, u32 bits) {
  while (bits > 0) {
    s.range >>= 1;
    if (value >> --bits & 1) s.low += s.range;
    if (s.range < RANGE_TOP) {
      s.range <<= 8;
      shift_low();
    }
  }
}

static void put_length(struct length_probs *l, u32 length, u32 pos_state) {
  length -= MIN_MATCH;
  if (length < 8) {
    put_bit(&l->choice, 0);
    put_tree(l->low[pos_state], 3, length);
  } else if (length < 16) {
    put_bit(&l->choice, 1);
    put_bit(&l->choice2, 0);
    put_tree(l->mid[pos_state], 3, length - 8);
  } else {
    put_bit(&l->choice, 1);
    put_bit(&l->choice2, 1);
    put_tree(l->high, 8, length - 16);
  }
}

static void put_distance(u32 distance, u32 length) {
  u32 slot = slot_of(distance);
  put_tree(probs.slot[length < 5 ? length - 2 : 3], 6, slot);
  if (slot < 4) return;
  u32 bits = (slot >> 1) - 1, first = (2 | (slot & 1)) << bits, rest = distance - first;
  if (slot < 14) {
    put_reverse(probs.special + first - slot, bits, rest);
  } else {
    put_direct(rest >> 4, bits - 4);
    put_reverse(probs.align, 4, rest & 15);
  }
}

static void put_literal(u32 at) {
  u16 *tree_ = literal_probs(at);
  u32 symbol = s.base[at];
  if (s.state < LITERAL_STATES) {
    put_tree(tree_, 8, symbol);
    return;
  }
  u32 match_byte = s.base[at - s.reps[0] - 1], offset = 0x100, node = 1;
  for (int i = 7; i >= 0; i--) {
    u32 bit = symbol >> i & 1, match_bit;
    match_byte <<= 1;
    match_bit = match_byte & offset;
    put_bit(&tree_[offset + match_bit + node], bit);
    node = node * 2 + bit;
    offset &= bit ? match_bit : ~match_bit;
  }
}

static void put_match_start(u32 pos_state) {
  put_bit(&probs.is_match[s.state * POS_STATES + pos_state], 1);
}

static void put_symbol(struct symbol symbol) {
  u32 pos_state = s.at & POS_MASK, state = s.state;
  if (symbol.back == LITERAL_STEP) {
    put_bit(&probs.is_match[state * POS_STATES + pos_state], 0);
    put_literal(s.at);
  } else if (symbol.back >= 4) {
    put_match_start(pos_state);
    put_bit(&probs.is_rep[state], 0);
    put_length(&probs.match_length, symbol.length, pos_state);
    put_distance(symbol.back - 4, symbol.length);
  } else {
    put_match_start(pos_state);
    put_bit(&probs.is_rep[state], 1);
    put_bit(&probs.is_rep0[state], symbol.back != 0);
    if (symbol.back == 0) {
      put_bit(&probs.is_rep0_long[state * POS_STATES + pos_state], symbol.length != 1);
    } else {
      put_bit(&probs.is_rep1[state], symbol.back != 1);
      if (symbol.back != 1) put_bit(&probs.is_rep2[state], symbol.back - 2);
    }
    if (symbol.length != 1) put_length(&probs.rep_length, symbol.length, pos_state);
  }
  apply(&s.state, s.reps, symbol.length, symbol.back);
  s.at += symbol.length;
}

static void put_end_marker(void) {
  u32 pos_state = s.at & POS_MASK;
  put_match_start(pos_state);
  put_bit(&probs.is_rep[s.state], 0);
  put_length(&probs.match_length, MIN_MATCH, pos_state);
  put_distance(0xffffffffu, MIN_MATCH);
}

static void reset_state(void) {
  u16 *all = (u16 *)&probs;
  for (u32 i = 0; i < sizeof probs / sizeof *all; i++) all[i] = PROB_INIT;
  s.state = s.reps[0] = s.reps[1] = s.reps[2] = s.reps[3] = 0;
}

EXPORT(output) u8 *output(void) { return s.out; }

/* The properties byte of LZMA. */
EXPORT(properties) u32 properties(void) { return (PB * 5 + LP) * 9 + LC; }

/* Once an instance. `sons` has room for two words for each of `window` positions; matches reach back less than that. */
EXPORT(encode_begin) void encode_begin(const u8 *in, u32 length, u32 *sons, u32 window, u8 *out, u32 nice, u32 depth,
                                       int lzma2) {
  fill_bit_prices();
  tree.sons = sons;
  tree.window = window;
  s.base = in;
  s.length = length;
  s.at = 0;
  s.out = out;
  s.nice = nice;
  s.depth = depth;
  s.lzma2 = lzma2;
  s.ended = 0;
  s.prices_until = 0;
  s.need_dictionary = s.need_properties = s.need_state_reset = 1;
  way_length = way_at = 0;
  reset_state();
  if (!lzma2) coder_begin();
}

/* One chunk of LZMA2: as many symbols as fit, or the bytes as they are if that is shorter. */
#define CHUNK_PACKED 65536u
#define CHUNK_UNPACKED (2u << 20)
#define SYMBOL_MAX 32u /* bytes that one symbol may add, with what the coder still holds */

static void put_chunk(void) {
  const u32 first = s.at;
  u8 *const header = s.out;
  s.out += 6;
  u8 *const data = s.out;
  coder_begin();
  if (s.need_state_reset) reset_state();
  while (s.at < s.length) {
    if (way_at == way_length) find_way();
    if ((u32)(s.out - data) + s.pending + SYMBOL_MAX > CHUNK_PACKED) break;
    if (s.at - first + way[way_at].length > CHUNK_UNPACKED) break;
    put_symbol(way[way_at++]);
  }
  coder_flush();
  u32 size = s.at - first, packed = (u32)(s.out - data);
  if (packed < size) {
    u32 control = s.need_dictionary ? 0xe0 : s.need_properties ? 0xc0 : s.need_state_reset ? 0xa0 : 0x80;
    u32 bytes = control >= 0xc0 ? 6 : 5;
    header[0] = (u8)(control | (size - 1) >> 16);
    header[1] = (u8)((size - 1) >> 8);
    header[2] = (u8)(size - 1);
    header[3] = (u8)((packed - 1) >> 8);
    header[4] = (u8)(packed - 1);
    if (bytes == 6)
      header[5] = (u8)properties();
    else
      for (u32 i = 0; i < packed; i++) header[5 + i] = data[i];
    s.out = header + bytes + packed;
    s.need_dictionary = s.need_properties = s.need_state_reset = 0;
    return;
  }
  /* What is planned already counts on the state that is about to be reset. */
  while (way_at < way_length) s.at += way[way_at++].length;
  s.out = header;
  for (u32 at = first; at < s.at;) {
    u32 part = s.at - at < 65536 ? s.at - at : 65536;
    *s.out++ = s.need_dictionary ? 1 : 2;
    *s.out++ = (u8)((part - 1) >> 8);
    *s.out++ = (u8)(part - 1);
    __builtin_memcpy(s.out, s.base + at, part);
    s.out += part;
    at += part;
    s.need_dictionary = 0;
  }
  s.need_state_reset = 1;
}

/* Goes on until `target` is passed (by less than a chunk, 64 KiB and 6 bytes) or all is coded. */
EXPORT(encode_run) int encode_run(const u8 *target) {
  while (s.out < target) {
    if (s.ended) return DONE;
    if (s.at == s.length) {
      if (s.lzma2) {
        *s.out++ = 0;
      } else {
        put_end_marker();
        coder_flush();
      }
      s.ended = 1;
    } else if (s.lzma2) {
      put_chunk();
    } else {
      if (way_at == way_length) find_way();
      put_symbol(way[way_at++]);
    }
  }
  return MORE;
}
