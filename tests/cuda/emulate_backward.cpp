// The bodies of the fused backward kernels, run on the CPU by simt_emulator.h, against csrc/core in float64. Exit code 1
// names the case that differs.
//   g++ -std=c++20 -O1 -Itorch_port/csrc tests/cuda/emulate_backward.cpp && ./a.out
#include "fused_cases.h"

#include "cuda/fused/fixed_point.h"
#include "cuda/fused/samples_backward.h"
#include "cuda/fused/weight_backward.h"

namespace {

struct ExactGradients {
  std::vector<Exact> input, offset, mask, weight;  // [N, H, W, C], as offset, as mask, [O, K, C/groups]
};

template <class S>
ExactGradients exact_gradients(const Arrays<S>& arrays, Border border) {
  const DeformConvShape& s = arrays.c.shape;
  ExactGradients g;
  g.input.resize(arrays.input.count), g.offset.resize(arrays.offset.count);
  g.mask.resize(arrays.mask.count), g.weight.resize(arrays.weight.count);
  arrays.for_samples(border, [&](int64_t image, int64_t position, int64_t tap, int64_t channel, const auto& sample,
                                 const FourCorners<float>& v) {
    const int64_t depth = s.channels_per_group(), width = s.out_channels_per_group(), group = channel / depth;
    const FourCorners<float> w = bilinear_weights(sample.cell);
    const double value = double(w.v00) * v.v00 + double(w.v01) * v.v01 + double(w.v10) * v.v10 + double(w.v11) * v.v11;
    const double value_size = std::fabs(w.v00 * v.v00) + std::fabs(w.v01 * v.v01) + std::fabs(w.v10 * v.v10) +
                              std::fabs(w.v11 * v.v11);
    Exact d;
    for (int64_t o = group * width; o < (group + 1) * width; ++o) {
      const double from_above = arrays.grad_at(image, position, o);
      d.add(arrays.weight_at(o, tap, channel % depth) * from_above);
      g.weight[(o * s.taps() + tap) * depth + channel % depth].add(
          value * sample.mask * from_above, value_size * std::fabs(sample.mask * from_above));
    }
    const FourCorners<int64_t> at = bilinear_addresses(sample.cell, s.width * s.channels, s.channels, -1);
    const int64_t map = image * s.height * s.width * s.channels + channel;
    const auto give = [&](int64_t to, double share) {
      if (to >= 0) g.input[map + to].add(share * sample.mask * d.sum, std::fabs(share * sample.mask) * d.size);
    };
    give(at.v00, w.v00), give(at.v01, w.v01), give(at.v10, w.v10), give(at.v11, w.v11);
    const int64_t shared = channel / s.channels_per_offset_group();
    const int64_t to = offset_index(image, shared, tap, position, s.offset_groups, s.taps(), s.positions());
    const double fy = sample.cell.y.fraction, fx = sample.cell.x.fraction;
    const auto slope = [&](int64_t index, double low, double high, double f) {
      g.offset[index].add((low * (1 - f) + high * f) * sample.mask * d.sum,
                          (std::fabs(low) * (1 - f) + std::fabs(high) * f) * std::fabs(sample.mask) * d.size);
    };
    slope(to, double(v.v10) - v.v00, double(v.v11) - v.v01, fx);
    slope(to + s.positions(), double(v.v01) - v.v00, double(v.v11) - v.v10, fy);
    g.mask[mask_index(image, shared, tap, position, s.offset_groups, s.taps(), s.positions())].add(
        value * d.sum, value_size * d.size);
  });
  return g;
}

template <class S>
double worst_of(const S& found, const std::vector<Exact>& exact) {
  Worst worst;
  for (size_t i = 0; i < exact.size(); ++i) worst.see(found[static_cast<int64_t>(i)], exact[i]);
  return worst.error;
}

template <class S>
int exponent_for(const Arrays<S>& arrays, const Aligned<S>& turned) {
  const DeformConvShape& s = arrays.c.shape;
  Bounds bounds = {0, 0, 0};
  for (int64_t i = 0; i < arrays.grad.count; ++i) {
    simt::keep_largest(&bounds.grad, finite_size(static_cast<float>(arrays.grad[i])));
  }
  for (int64_t row = 0; row < turned.count / s.out_channels_per_group(); ++row) {
    simt::keep_largest(&bounds.weight_row, row_size(turned.data(), s, row));
  }
  for (int64_t i = 0; i < arrays.mask.count; ++i) simt::keep_largest(&bounds.mask, finite_size(arrays.mask[i]));
  return fixed_point_exponent(s, bounds, arrays.c.mask);
}

enum class Wanted { all, input_in_fixed_point, offset_only };

template <class P, int BM>
bool samples_agree(const char* kernel, const Case& c, Border border, Wanted wanted, Order order) {
  using S = typename P::Data;
  const DeformConvShape& s = c.shape;
  const Arrays<S> arrays(c);
  Aligned<S> turned(arrays.weight.count);  // [K, C/groups, O]
  const int64_t depth = s.channels_per_group();
  for (int64_t o = 0; o < s.out_channels; ++o) {
    for (int64_t k = 0; k < s.taps() * depth; ++k) {
      turned[k * s.out_channels + o] = arrays.weight[o * s.taps() * depth + k];
    }
  }
  Aligned<float> grad_input(arrays.input.count), grad_offset(arrays.offset.count), grad_mask(arrays.mask.count);
  Aligned<int64_t> fixed(arrays.input.count);
  fill(grad_input, 0.0f), fill(grad_offset, NAN), fill(grad_mask, NAN), fill(fixed, int64_t(0));
  const int exponent = exponent_for(arrays, turned);
  const bool want_input = wanted != Wanted::offset_only, want_mask = c.mask && wanted == Wanted::all;
  const SamplesOperands<S> a = {arrays.source(border),
                                arrays.grad.data(),
                                turned.data(),
                                want_input ? grad_input.data() : nullptr,
                                wanted == Wanted::input_in_fixed_point ? fixed.data() : nullptr,
                                &exponent,
                                wanted != Wanted::input_in_fixed_point ? grad_offset.data() : nullptr,
                                want_mask ? grad_mask.data() : nullptr};
  auto shared = std::make_unique<SamplesShared<BM>>();
  for (int tap = 0; tap < s.taps(); ++tap) {
    for (int64_t x = 0; x < s.images * ((s.positions() + BM - 1) / BM); ++x) {
      std::memset(static_cast<void*>(shared.get()), 0xff, sizeof(*shared));
      emulator::run_block(order, [&] { samples_block<P, BM>(a, *shared, x, tap); });
    }
  }
  if (a.fixed != nullptr) {
    for (int64_t i = 0; i < fixed.count; ++i) grad_input[i] += from_fixed(fixed[i], exponent);
  }
  const ExactGradients exact = exact_gradients(arrays, border);
  // grad and weight enter as they are: only TF32 rounds them.
  const double allowed = P::TENSOR_CORE && sizeof(S) == 4 ? ALLOWED<P> : 2e-6;
  bool good = true;
  if (want_input) good &= judged("grad_input", c, kernel, worst_of(grad_input, exact.input), allowed);
  if (a.grad_offset) good &= judged("grad_offset", c, kernel, worst_of(grad_offset, exact.offset), allowed);
  if (want_mask) good &= judged("grad_mask", c, kernel, worst_of(grad_mask, exact.mask), allowed);
  return good;
}

template <class P, int BO>
bool weights_agree(const char* kernel, const Case& c, Border border, int splits, Order order) {
  using S = typename P::Data;
  const DeformConvShape& s = c.shape;
  const Arrays<S> arrays(c);
  Aligned<float> partial(splits * arrays.weight.count), sum(arrays.weight.count);
  fill(partial, NAN), fill(sum, 0.0f);
  const WeightOperands<S> a = {arrays.source(border), arrays.grad.data(), partial.data(), splits};
  auto shared = std::make_unique<WeightShared<S, BO>>();
  const int pieces = count_pieces(s, 0, static_cast<int>(s.channels), WEIGHT_PIECE);
  for (int split = 0; split < splits; ++split) {
    for (int y = 0; y < s.taps() * pieces; ++y) {
      for (int x = 0; x < (s.out_channels_per_group() + BO - 1) / BO; ++x) {
        std::memset(static_cast<void*>(shared.get()), 0xff, sizeof(*shared));
        emulator::run_block(order, [&] { weight_block<P, BO>(a, *shared, x, y, split); });
      }
    }
    for (int64_t i = 0; i < sum.count; ++i) sum[i] += partial[split * sum.count + i];
  }
  return judged("grad_weight", c, kernel, worst_of(sum, exact_gradients(arrays, border).weight), ALLOWED<P>);
}

}  // namespace

int main() {
  bool good = true;
  const Order orders[2] = {{false, true}, {true, false}};
  for (size_t i = 0; i < CASES.size(); ++i) {
    const Case& c = CASES[i];
    const Order order = orders[i % 2], other = orders[(i + 1) % 2];
    const int splits = c.shape.images > 1 ? 3 : 1;
    good &= samples_agree<Float32, 64>("float32 64", c, Border::clamp, Wanted::all, order);
    good &= samples_agree<Float32, 64>("float32 64, fixed point", c, Border::zeros, Wanted::input_in_fixed_point, other);
    good &= samples_agree<Tf32, 128>("tf32 128", c, Border::zeros, Wanted::all, other);
    good &= samples_agree<Small<Bf16>, 64>("bfloat16 64", c, Border::clamp, Wanted::offset_only, order);
    good &= samples_agree<Small<Bf16>, 128>("bfloat16 128", c, Border::zeros, Wanted::all, other);
    good &= weights_agree<Float32, 128>("float32 128", c, Border::zeros, splits, order);
    good &= weights_agree<Tf32, 256>("tf32 256", c, Border::clamp, splits, other);
    good &= weights_agree<Small<Bf16>, 128>("bfloat16 128", c, Border::zeros, splits, other);
    good &= weights_agree<Small<Bf16>, 256>("bfloat16 256", c, Border::clamp, 1, order);
  }
  return good ? 0 : 1;
}
