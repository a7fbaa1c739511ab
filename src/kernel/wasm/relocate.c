/*
 * The loops of relocation, for a kernel and a table that lie in one linear memory: a codec's, which is imported.
 * `words` are the table's entries; `base` is where the bytes lie whose first one was linked for the address `start`, and
 * `last` the highest offset in them at which a whole word begins. Each loop returns the first entry that is not theirs.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))

EXPORT(add32)
const uint32_t *add32(const uint32_t *words, const uint32_t *end, uint8_t *base, uint32_t start, uint32_t last,
                      uint32_t delta) {
  for (; words < end; words++) {
    uint32_t value, at = *words - start;
    if (at > last) break;
    __builtin_memcpy(&value, base + at, sizeof value);
    value += delta;
    __builtin_memcpy(base + at, &value, sizeof value);
  }
  return words;
}

EXPORT(add64)
const uint32_t *add64(const uint32_t *words, const uint32_t *end, uint8_t *base, uint32_t start, uint32_t last,
                      uint32_t low, uint32_t high) {
  const uint64_t delta = (uint64_t)high << 32 | low;
  for (; words < end; words++) {
    uint64_t value;
    uint32_t at = *words - start;
    if (at > last) break;
    __builtin_memcpy(&value, base + at, sizeof value);
    value += delta;
    __builtin_memcpy(base + at, &value, sizeof value);
  }
  return words;
}
