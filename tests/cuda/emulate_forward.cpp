// The fused forward kernel's body, run on the CPU by simt_emulator.h, against csrc/core in float64. Exit code 1 names the
// case that differs.
//   g++ -std=c++20 -O1 -Itorch_port/csrc tests/cuda/emulate_forward.cpp && ./a.out
#include "fused_cases.h"

#include "cuda/fused/forward.h"

namespace {

template <class P, int BM, int BN>
bool agrees(const char* kernel, const Case& c, Border border, int splits, Order order) {
  using S = typename P::Data;
  const DeformConvShape& s = c.shape;
  const Arrays<S> arrays(c);
  const int64_t pixels = s.images * s.positions();
  Aligned<S> output(pixels * s.out_channels);
  Aligned<float> partial(splits * output.count);
  fill(output, S(12345.0f)), fill(partial, NAN);
  const ForwardOperands<S> a = {arrays.source(border), arrays.weight.data(), c.bias ? arrays.bias.data() : nullptr,
                                output.data(), partial.data(), splits, s.out_channels * s.positions(),
                                c.channels_last ? 1 : s.positions(), c.channels_last ? s.out_channels : 1};
  const ForwardGrid<BM, BN> grid(s);
  auto shared = std::make_unique<ForwardShared<BM, BN>>();
  for (int64_t y = 0; y < s.groups * grid.channel_tiles; ++y) {
    for (int64_t x = 0; x < s.images * grid.position_tiles; ++x) {
      for (int split = 0; split < splits; ++split) {
        std::memset(static_cast<void*>(shared.get()), 0xff, sizeof(*shared));
        emulator::run_block(order, [&] { forward_block<P, BM, BN>(a, *shared, x, y, split); });
      }
    }
  }
  std::vector<Exact> exact(output.count);
  arrays.for_samples(border, [&](int64_t image, int64_t position, int64_t tap, int64_t channel, const auto& sample,
                                 const FourCorners<float>& v) {
    const int64_t group = channel / s.channels_per_group(), width = s.out_channels_per_group();
    const double value = double(bilinear_value(v, bilinear_weights(sample.cell))) * sample.mask;
    const auto w = bilinear_weights(sample.cell);
    const double size = (std::fabs(v.v00 * w.v00) + std::fabs(v.v01 * w.v01) + std::fabs(v.v10 * w.v10) +
                         std::fabs(v.v11 * w.v11)) * std::fabs(sample.mask);
    for (int64_t o = group * width; o < (group + 1) * width; ++o) {
      const double factor = arrays.weight_at(o, tap, channel % s.channels_per_group());
      exact[(image * s.positions() + position) * s.out_channels + o].add(value * factor, size * std::fabs(factor));
    }
  });
  Worst worst;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (int64_t o = 0; o < s.out_channels; ++o) {
      Exact& e = exact[pixel * s.out_channels + o];
      double found = 0;
      if (splits > 1) {
        for (int split = 0; split < splits; ++split) found += partial[(split * pixels + pixel) * s.out_channels + o];
      } else {
        if (c.bias) e.add(static_cast<float>(arrays.bias[o]));
        found = static_cast<float>(output[pixel / s.positions() * a.out_stride_image + o * a.out_stride_channel +
                                          pixel % s.positions() * a.out_stride_position]);
      }
      worst.see(found, e);
    }
  }
  return judged("output", c, kernel, worst.error, ALLOWED<P>);
}

// Splits on a device with 132 multiprocessors: maps of 38 x 63 with 512 channels, 19 x 2 tiles and 144 steps an image.
bool splits_are_as_expected() {
  const bool good = best_split(38, 144, 132, 16) == 3 && best_split(8 * 38, 144, 132, 16) == 1 &&
                    best_split(1, 1, 132, 16) == 1 && best_split(1, 2, 132, 1) == 1;
  if (!good) std::printf("best_split: other than expected\n");
  return good;
}

}  // namespace

int main() {
  bool good = splits_are_as_expected();
  const Order orders[2] = {{false, true}, {true, false}};
  for (size_t i = 0; i < CASES.size(); ++i) {
    const Case& c = CASES[i];
    const bool long_sum = c.shape.taps() > 1;
    const Order order = orders[i % 2], other = orders[(i + 1) % 2];
    good &= agrees<Float32, 64, 128>("float32 64x128", c, Border::clamp, 1, order);
    good &= agrees<Float32, 128, 64>("float32 128x64, 2 splits", c, Border::zeros, long_sum ? 2 : 1, other);
    good &= agrees<Tf32, 128, 256>("tf32 128x256", c, Border::zeros, 1, order);
    good &= agrees<Tf32, 64, 128>("tf32 64x128, 2 splits", c, Border::clamp, long_sum ? 2 : 1, other);
    good &= agrees<Small<Bf16>, 128, 256>("bfloat16 128x256, 2 splits", c, Border::clamp, long_sum ? 2 : 1, order);
    good &= agrees<Small<Bf16>, 128, 64>("bfloat16 128x64", c, Border::zeros, 1, other);
  }
  return good ? 0 : 1;
}
