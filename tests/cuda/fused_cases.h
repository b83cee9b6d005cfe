// Shapes, random arrays and the float64 reference (from csrc/core) for the emulated fused kernels.
#pragma once

#include <random>

#include "simt_emulator.h"

#include "cuda/fused/sample.h"

using namespace dcn;
using namespace dcn::cuda::fused;
using emulator::Bf16;
using emulator::Order;

struct Case {
  const char* name;
  DeformConvShape shape;
  bool mask, bias, channels_last;
};

//                                            N  C   H   W  O    OH OW kh kw sh sw ph pw dh dw groups G
inline const std::vector<Case> CASES = {
    {"one tap, one chunk, one tile", {1, 32, 8, 8, 8, 8, 8, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}, false, false, false},
    {"3x3, dilation 2, partial tiles", {2, 64, 7, 11, 40, 7, 11, 3, 3, 1, 1, 2, 2, 2, 2, 1, 2}, true, true, false},
    {"stride 2, channels last out", {1, 64, 13, 9, 136, 7, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1}, false, true, true},
    {"weight groups wider than offset groups", {1, 192, 6, 6, 32, 7, 6, 2, 3, 1, 1, 1, 1, 1, 1, 2, 6}, true, false, false},
    {"offset groups wider than weight groups", {1, 96, 6, 6, 48, 6, 6, 1, 3, 1, 1, 0, 1, 1, 1, 6, 3}, true, true, true},
    {"groups that cut across each other", {1, 192, 5, 6, 16, 5, 6, 3, 1, 1, 1, 1, 0, 1, 1, 2, 3}, false, true, false},
    {"channels that do not fill chunks", {2, 40, 9, 8, 24, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, true, true, true},
    {"8 channels in all, many positions", {1, 8, 20, 19, 8, 10, 10, 2, 2, 2, 2, 0, 1, 1, 1, 1, 1}, true, false, false},
    {"pieces of more than 128 channels", {1, 304, 4, 5, 264, 4, 5, 1, 1, 1, 1, 0, 0, 1, 1, 1, 2}, true, true, true},
};

template <class S>
struct Aligned {  // 16-byte aligned; exactly `count` elements, so that the address sanitizer sees one too many
  explicit Aligned(int64_t count) : values(static_cast<S*>(std::aligned_alloc(16, (count * sizeof(S) + 15) / 16 * 16))), count(count) {}
  ~Aligned() { std::free(values); }
  Aligned(const Aligned&) = delete;
  S* data() { return values; }
  const S* data() const { return values; }
  S& operator[](int64_t i) { return values[i]; }
  const S& operator[](int64_t i) const { return values[i]; }

  S* values;
  int64_t count;
};

inline void fill_normal(auto& array, std::mt19937& random, float scale) {
  std::normal_distribution<float> draw(0, scale);
  for (int64_t i = 0; i < array.count; ++i) array[i] = std::decay_t<decltype(array[i])>(draw(random));
}
inline void fill(auto& array, auto value) {
  for (int64_t i = 0; i < array.count; ++i) array[i] = value;
}

template <class S>
struct Arrays {
  const Case& c;
  Aligned<S> input, weight, bias, grad;  // [N, H, W, C], [O, K, C/groups], [O], [N, OH*OW, O]
  Aligned<float> offset, mask;

  explicit Arrays(const Case& c)
      : c(c),
        input(c.shape.images * c.shape.height * c.shape.width * c.shape.channels),
        weight(c.shape.out_channels * c.shape.taps() * c.shape.channels_per_group()),
        bias(c.shape.out_channels),
        grad(c.shape.images * c.shape.positions() * c.shape.out_channels),
        offset(c.shape.images * c.shape.offset_groups * c.shape.taps() * 2 * c.shape.positions()),
        mask(offset.count / 2) {
    std::mt19937 random(7);
    fill_normal(input, random, 1), fill_normal(weight, random, 0.1f), fill_normal(bias, random, 1);
    fill_normal(grad, random, 1), fill_normal(offset, random, 2), fill_normal(mask, random, 1);
    offset[3] = NAN, offset[5] = 1e30f;
    for (int64_t i = 0; i < offset.count; i += 7) offset[i] = std::round(offset[i]);  // exactly on cells, as at first
  }

  Source<S> source(Border border) const {
    return {c.shape, border, input.data(), {offset.data(), nullptr}, {c.mask ? mask.data() : nullptr, nullptr}};
  }
  double weight_at(int64_t o, int64_t tap, int64_t within) const {
    return static_cast<float>(weight[(o * c.shape.taps() + tap) * c.shape.channels_per_group() + within]);
  }
  double grad_at(int64_t image, int64_t position, int64_t o) const {
    return static_cast<float>(grad[(image * c.shape.positions() + position) * c.shape.out_channels + o]);
  }
  // f(image, position, tap, channel, sample, corners): every sample that has a cell.
  template <class F>
  void for_samples(Border border, F f) const {
    const DeformConvShape& s = c.shape;
    const Source<S> from = source(border);
    for (int64_t image = 0; image < s.images; ++image) {
      for (int64_t position = 0; position < s.positions(); ++position) {
        for (int64_t tap = 0; tap < s.taps(); ++tap) {
          for (int64_t channel = 0; channel < s.channels; ++channel) {
            const auto sample =
                from.sample(image, static_cast<int>(channel / s.channels_per_offset_group()), static_cast<int>(tap), position);
            if (!sample.cell.inside()) continue;
            const S* map = from.image(image) + channel;
            f(image, position, tap, channel, sample,
              bilinear_corners<S, float>(map, sample.cell, s.width * s.channels, s.channels));
          }
        }
      }
    }
  }
};

// A sum and the sum of its terms' sizes, by which rounding is judged.
struct Exact {
  double sum = 0, size = 0;
  void add(double term) { sum += term, size += std::fabs(term); }
  void add(double term, double term_size) { sum += term, size += term_size; }
};

// The worst |found - exact| in units of `unit` times the size of the terms (or of one, where that is smaller).
struct Worst {
  double error = 0;
  void see(double found, const Exact& exact) {
    const double e = std::fabs(found - exact.sum) / (exact.size + 1e-6);
    if (!(e <= error)) error = e;  // NaN too
  }
};

inline bool judged(const char* what, const Case& c, const char* kernel, double worst, double allowed) {
  const bool good = worst <= allowed;
  std::printf("%-42s %-28s %-12s | worst %.2e | allowed %.0e | %s\n", c.name, kernel, what, worst, allowed,
              good ? "holds" : "DOES NOT HOLD");
  return good;
}

// Rounding of sums of some hundred to thousand terms; of factors to TF32; of samples and results to bfloat16.
template <class P>
constexpr double ALLOWED = sizeof(typename P::Data) == 2 ? 8e-3 : (P::TENSOR_CORE ? 1.5e-3 : 2e-6);
