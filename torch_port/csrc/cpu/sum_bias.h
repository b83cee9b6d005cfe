// Gradient of the bias of deform_conv2d, for every type.
#pragma once

#include <algorithm>

#include "cpu/deform_conv_amx.h"
#include "cpu/workers.h"

namespace dcn::cpu {

template <class T>
T number(T x) {
  return x;
}
inline float number(Bf16 x) {
  const uint32_t bits = uint32_t(x) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

template <class T>
void assign(double x, T& target) {
  target = static_cast<T>(x);
}
inline void assign(double sum, Bf16& target) {  // ties to even; NaN stays NaN
  const float x = static_cast<float>(sum);
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  target = x != x ? 0x7fc0 : static_cast<Bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// grad_bias: the sum of each output channel, in double.
template <class T, class C>
void sum_bias(const DeformConvArrays<T, C>& a, bool grad_last) {
  const DeformConvShape& s = a.shape;
  constexpr int64_t BLOCK = 64;
  for_slices((s.out_channels + BLOCK - 1) / BLOCK, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double sums[BLOCK] = {};
      const int64_t first = block * BLOCK, count = std::min(BLOCK, s.out_channels - first);
      for (int64_t image = 0; image < s.images; ++image) {
        for (int64_t i = 0; grad_last && i < s.positions(); ++i) {
          const T* grad = a.grad + (image * s.positions() + i) * s.out_channels + first;
          for (int64_t o = 0; o < count; ++o) sums[o] += number(grad[o]);
        }
        for (int64_t o = 0; !grad_last && o < count; ++o) {
          const T* grad = a.grad + (image * s.out_channels + first + o) * s.positions();
          for (int64_t i = 0; i < s.positions(); ++i) sums[o] += number(grad[i]);
        }
      }
      for (int64_t o = 0; o < count; ++o) assign(sums[o], a.grad_bias[first + o]);
    }
  });
}

}  // namespace dcn::cpu
