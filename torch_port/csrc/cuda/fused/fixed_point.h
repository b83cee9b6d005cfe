// Sums that do not depend on their order: an input's gradient as 64-bit integers, numbers of 2^-exponent. The exponent
// is found on the device, so that nobody waits for it: from a bound on one share and from how many shares one element
// can get. NaN and infinities are added to a float beside it: they add up the same in any order.
#pragma once

#include <cmath>

#include "core/deform_conv.h"
#include "cuda/fused/simt.h"

namespace dcn::cuda::fused {

// The largest finite sizes of what a convolution's shares are products of: grad, a row of weight, mask. Bits of float32
// numbers, kept by simt::keep_largest.
struct Bounds {
  unsigned grad, weight_row, mask;
};

DCN_DEVICE float finite_size(float x) { return x - x == 0.0f ? fabsf(x) : 0.0f; }

// Row `row` of weight [K, C/groups, O], one weight group of it: sum of sizes.
template <class S>
DCN_DEVICE float row_size(const S* weight, const DeformConvShape& s, int64_t row) {
  const int64_t width = s.out_channels_per_group();
  const S* from = weight + row * width;  // O = groups * width: rows of a group follow each other within a channel's row
  float sum = 0;
  for (int64_t o = 0; o < width; ++o) sum += finite_size(static_cast<float>(from[o]));
  return sum;
}

DCN_DEVICE int binary_exponent(unsigned bits) {  // |x| < 2^this
  float x;
  memcpy(&x, &bits, sizeof(x));
  int exponent = 0;
  if (!(x - x == 0.0f)) return 128;
  frexpf(x, &exponent);
  return exponent;
}

// shares: the most that one element can get; each is smaller than 2^share_exponent.
DCN_DEVICE int fixed_point_exponent(int64_t shares, int share_exponent) {
  int count_bits = 0;
  for (; shares > 0; shares /= 2) ++count_bits;
  constexpr int BITS = 61;  // of 63: one for the rounding of shares, one to spare
  const int exponent = BITS - count_bits - share_exponent;
  return exponent > 126 ? 126 : (exponent < -126 ? -126 : exponent);
}
DCN_DEVICE int fixed_point_exponent(const DeformConvShape& s, const Bounds& bounds, bool has_mask) {
  return fixed_point_exponent(s.taps() * s.positions(), binary_exponent(bounds.grad) +
                                                            binary_exponent(bounds.weight_row) +
                                                            (has_mask ? binary_exponent(bounds.mask) : 1));
}

DCN_DEVICE int64_t to_fixed(float value, int exponent) { return simt::to_fixed(value * ldexpf(1.0f, exponent)); }
DCN_DEVICE float from_fixed(int64_t value, int exponent) {
  return static_cast<float>(ldexp(static_cast<double>(value), -exponent));
}

}  // namespace dcn::cuda::fused
