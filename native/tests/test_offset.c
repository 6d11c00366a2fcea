/* test_offset.c - the arithmetic, against a model in 128 bits. With -DFUZZ it is a libFuzzer target, otherwise a
 * deterministic loop. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../offset.h"
#include "check.h"

typedef unsigned __int128 wide_t;

typedef struct {
  uint64_t base, cursor, capacity, minimum, preferred, size;
  uint8_t align_shift;
  uint64_t bits;
} input_t;

static void against_model(input_t in) {
  const uint64_t align = UINT64_C(1) << (in.align_shift % 64);
  if (in.cursor > in.capacity) in.cursor = in.capacity == UINT64_MAX ? in.cursor : in.cursor % (in.capacity + 1);
  if (in.minimum > in.preferred) in.minimum = in.preferred == UINT64_MAX ? in.minimum : in.minimum % (in.preferred + 1);
  if ((wide_t)in.base + in.capacity > UINT64_MAX) in.base = UINT64_MAX - in.capacity; /* mappings do not wrap */
  const wide_t address = (wide_t)in.base + in.cursor;
  const wide_t aligned = (address + align - 1) / align * align;
  const wide_t top = (wide_t)in.base + in.capacity;
  const bool fits = aligned + in.minimum <= top;
  uint64_t start = 1, end = 2;
  CHECK(offset_take(in.base, in.cursor, in.capacity, in.minimum, in.preferred, align, &start, &end) == fits);
  if (fits) {
    const wide_t wanted = aligned + in.preferred;
    CHECK(start + (wide_t)in.base == aligned);
    CHECK(end + (wide_t)in.base == (wanted < top ? wanted : top));
  }
  const bool grows = (wide_t)in.cursor + in.size <= in.capacity;
  CHECK(offset_resize(in.cursor, in.capacity, in.size, &end) == grows);
  if (grows) CHECK(end == (wide_t)in.cursor + in.size);

  const uint64_t value = in.size % (OFFSET_MAX + 1), unit = UINT64_C(1) << (in.align_shift % 54);
  CHECK(offset_round_up(value, unit) == (uint64_t)(((wide_t)value + unit - 1) / unit * unit));
  CHECK(offset_round_down(value, unit) == value / unit * unit);

  double number;
  uint64_t whole = 7;
  memcpy(&number, &in.bits, sizeof number);
  const bool exact = isfinite(number) && number >= 0 && number <= 0x1p53 && floor(number) == number;
  CHECK(offset_from_double(number, &whole) == exact);
  if (exact) CHECK((double)whole == number);
  CHECK(offset_from_double((double)value, &whole) && whole == value);
  CHECK(offset_is_power_of_two(in.bits) == (__builtin_popcountll(in.bits) == 1));
}

#if defined(FUZZ)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input_t in;
  memset(&in, 0, sizeof in);
  memcpy(&in, data, size < sizeof in ? size : sizeof in);
  against_model(in);
  if (failures != 0) abort();
  return 0;
}
#else
static uint64_t random_state = 0x9e3779b97f4a7c15;

/* A number of any magnitude, often at an edge; uniform numbers would nearly all be huge. */
static uint64_t draw(void) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  const uint64_t drawn = random_state >> (random_state & 63);
  switch (random_state >> 61) {
    case 0: return UINT64_C(1) << (drawn & 63);
    case 1: return (UINT64_C(1) << (drawn & 63)) - 1;
    case 2: return 0 - (drawn & 4095);
    default: return drawn;
  }
}

int main(void) {
  static const double refused[] = {-1, -0x1p-1074, 0.5, 0x1p53 + 2, 0x1p63, 0x1p64, 1e300, INFINITY, -INFINITY, NAN};
  uint64_t whole;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) CHECK(!offset_from_double(refused[i], &whole));
  CHECK(offset_from_double(0x1p53, &whole) && whole == OFFSET_MAX);
  CHECK(offset_from_double(-0.0, &whole) && whole == 0);
  for (int i = 0; i < 3000000; i++) {
    const input_t in = {draw(), draw(), draw(), draw(), draw(), draw(), (uint8_t)draw(), draw()};
    against_model(in);
  }
  return conclude("offset");
}
#endif
