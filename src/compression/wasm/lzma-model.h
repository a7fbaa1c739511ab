/* The adaptive probabilities of LZMA, which encoder and decoder keep alike (LZMA specification of the LZMA SDK). */
#ifndef LZMA_MODEL_H
#define LZMA_MODEL_H

#include "codec.h"

#define STATES 12
#define POS_STATES 16
#define LITERAL_STATES 7 /* states below: the previous symbol was a literal */
#define MAX_LC_LP 4
#define PROB_BITS 11
#define PROB_INIT (1u << (PROB_BITS - 1))
#define MOVE_BITS 5
#define RANGE_TOP (1u << 24)

struct length_probs {
  u16 choice, choice2;
  u16 low[POS_STATES][8], mid[POS_STATES][8], high[256];
};

static struct probs {
  u16 is_match[STATES * POS_STATES], is_rep[STATES], is_rep0[STATES], is_rep1[STATES], is_rep2[STATES];
  u16 is_rep0_long[STATES * POS_STATES];
  u16 slot[4][64], special[128], align[16];
  struct length_probs match_length, rep_length;
  u16 literal[0x300u << MAX_LC_LP];
} probs;

#endif
