// deform_conv2d on CUDA: checks in the CPU library's words, choice of kernels. Schema: cpu/deform_conv.cpp.
#include <torch/csrc/stable/library.h>

#include <atomic>
#include <string>
#include <tuple>
#include <vector>

#include "cuda/deform_conv_call.h"
#include "cuda/launch.h"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "deform_conv2d";

// Whether calls may take the fused kernels; false sends all to the reference kernels, to compare with. Returns what
// was set before.
std::atomic<bool> fused_allowed{true};
bool set_cuda_fused(bool on) { return fused_allowed.exchange(on); }

Border border_named(const std::string& name) {
  if (name == "clamp") return Border::clamp;
  if (name == "zeros") return Border::zeros;
  refuse(NAME, "border: expected \"clamp\" (MXNet's DeformableConvolution) or \"zeros\" (DCNv2, torchvision), got \"",
         name, "\"");
}

bool has_shape(const Tensor& t, const Sizes& expected) {
  bool same = t.dim() == static_cast<int64_t>(expected.size());
  for (size_t i = 0; same && i < expected.size(); ++i) same = t.size(static_cast<int64_t>(i)) == expected[i];
  return same;
}

void check_pair(const char* name, const Sizes& value, int64_t smallest) {
  constexpr int64_t LARGEST = 1 << 20;
  if (value.size() == 2 && value[0] >= smallest && value[1] >= smallest && value[0] <= LARGEST && value[1] <= LARGEST) {
    return;
  }
  std::ostringstream got;
  for (size_t i = 0; i < value.size(); ++i) got << (i ? ", " : "") << value[i];
  refuse(NAME, name, ": expected two numbers (vertical, horizontal) from ", smallest, " to ", LARGEST, ", got (",
         got.str(), ")");
}

void check_companion(const char* name, const Tensor& t, const Tensor& input) {
  if (t.scalar_type() != input.scalar_type()) {
    refuse(NAME, name, ": expected input's dtype ", dtype_text(input), ", got ", dtype_text(t));
  }
  check_device(NAME, name, t, input);
}

// Offsets and masks may also be float32 beside a float16 or bfloat16 map: positions deserve the bits.
void check_positions(const char* name, const Tensor& t, const Tensor& input) {
  if (t.scalar_type() == accumulator_type(input)) return check_device(NAME, name, t, input);
  check_companion(name, t, input);
}

void check_input_and_weight(const Tensor& input, const Tensor& weight) {
  if (input.dim() != 4) refuse(NAME, "input: expected [N, C, H, W], got ", shape_text(input));
  if (weight.dim() != 4) refuse(NAME, "weight: expected [O, C/groups, kh, kw], got ", shape_text(weight));
  check_companion("weight", weight, input);
  for (int64_t i = 0; i < 4; ++i) {
    if (weight.size(i) < 1) refuse(NAME, "weight: expected no empty dimension, got ", shape_text(weight));
  }
  if (input.size(1) < 1 || input.size(1) % weight.size(1) != 0) {
    refuse(NAME, "weight: expected its second size to divide input's ", input.size(1), " channels, got ",
           shape_text(weight));
  }
  const int64_t groups = input.size(1) / weight.size(1);
  if (weight.size(0) % groups != 0) {
    refuse(NAME, "weight: expected output channels that ", groups, " weight groups (", input.size(1),
           " input channels / ", weight.size(1), ") divide, got ", shape_text(weight));
  }
  if (input.size(2) >= (1 << 24) || input.size(3) >= (1 << 24)) {
    refuse(NAME, "input: expected height and width below 2^24, got ", shape_text(input));
  }
}

DeformConvShape checked_shape(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask,
                              const Tensor& weight, const std::optional<Tensor>& bias, const Sizes& stride,
                              const Sizes& padding, const Sizes& dilation) {
  check_input_and_weight(input, weight);
  check_pair("stride", stride, 1);
  check_pair("padding", padding, 0);
  check_pair("dilation", dilation, 1);
  const int64_t kernel_h = weight.size(2), kernel_w = weight.size(3), taps = kernel_h * kernel_w;
  const int64_t out_height = convolved_size(input.size(2), kernel_h, stride[0], padding[0], dilation[0]);
  const int64_t out_width = convolved_size(input.size(3), kernel_w, stride[1], padding[1], dilation[1]);
  if (out_height < 1 || out_width < 1) {
    refuse(NAME, "input: expected a map at least as large as the dilated kernel, got ", shape_text(input),
           " for weight ", shape_text(weight), " (output would be ", out_height, " x ", out_width, ")");
  }
  const int64_t images = input.size(0), channels = input.size(1);
  const int64_t offset_groups = offset.dim() == 4 ? offset.size(1) / (2 * taps) : 0;
  if (offset_groups < 1 || !has_shape(offset, {images, offset_groups * 2 * taps, out_height, out_width}) ||
      channels % offset_groups != 0) {
    refuse(NAME, "offset: expected [", images, ", 2*G*", taps, ", ", out_height, ", ", out_width,
           "] with G offset groups that divide ", channels, " channels, got ", shape_text(offset));
  }
  check_positions("offset", offset, input);
  if (mask) {
    if (!has_shape(*mask, {images, offset_groups * taps, out_height, out_width})) {
      refuse(NAME, "mask: expected [", images, ", ", offset_groups * taps, ", ", out_height, ", ", out_width, "] (",
             offset_groups, " offset groups by ", taps, " taps), got ", shape_text(*mask));
    }
    check_positions("mask", *mask, input);
  }
  if (bias) {
    if (!has_shape(*bias, {weight.size(0)})) {
      refuse(NAME, "bias: expected [", weight.size(0), "], got ", shape_text(*bias));
    }
    check_companion("bias", *bias, input);
  }
  const auto number = [](int64_t value) { return static_cast<int>(value); };
  return {images, channels, input.size(2), input.size(3), weight.size(0), out_height, out_width,
          number(kernel_h), number(kernel_w), number(stride[0]), number(stride[1]), number(padding[0]),
          number(padding[1]), number(dilation[0]), number(dilation[1]), number(channels / weight.size(1)),
          number(offset_groups)};
}

DeformConvCall prepared(const DeformConvShape& shape, const std::string& border, const Tensor& input,
                        const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
  const ScalarType sums = accumulator_type(input);
  DeformConvCall call = {NAME, shape, border_named(border), input, widened(offset, sums),
                         torch::stable::contiguous(weight), std::nullopt, std::nullopt};
  if (mask) call.mask = widened(*mask, sums);
  if (bias) call.bias = torch::stable::contiguous(*bias);
  return call;
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask,
                     const Tensor& weight, const std::optional<Tensor>& bias, Sizes stride, Sizes padding,
                     Sizes dilation, std::string border) {
  const DeformConvShape s = checked_shape(input, offset, mask, weight, bias, stride, padding, dilation);
  const Launch launch(input);
  const DeformConvCall call = prepared(s, border, input, offset, mask, weight, bias);
  if (is_channels_last(input)) {  // dense memory [N, OH, OW, O] seen as [N, O, OH, OW]
    Tensor memory = torch::stable::new_empty(input, {s.images, s.out_height, s.out_width, s.out_channels});
    const Tensor output = torch::stable::transpose(torch::stable::transpose(memory, 1, 3), 2, 3);
    if (s.images == 0 || (fused_allowed.load() && deform_conv_fused_forward(call, memory, true))) return output;
  }
  Tensor output = torch::stable::new_empty(input, {s.images, s.out_channels, s.out_height, s.out_width});
  if (s.images == 0) return output;
  if (!fused_allowed.load() || !deform_conv_fused_forward(call, output, false)) {
    deform_conv_reference_forward(call, output);
  }
  return in_format_of(output, input);
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients deform_conv2d_backward(const Tensor& grad, const Tensor& input, const Tensor& offset,
                                 const std::optional<Tensor>& mask, const Tensor& weight, Sizes stride, Sizes padding,
                                 Sizes dilation, std::string border, bool want_input, bool want_offset, bool want_mask,
                                 bool want_weight, bool want_bias) {
  const DeformConvShape s = checked_shape(input, offset, mask, weight, std::nullopt, stride, padding, dilation);
  if (!has_shape(grad, {s.images, s.out_channels, s.out_height, s.out_width})) {
    refuse("deform_conv2d_backward", "grad: expected [", s.images, ", ", s.out_channels, ", ", s.out_height, ", ",
           s.out_width, "], got ", shape_text(grad));
  }
  check_companion("grad", grad, input);
  if (want_mask && !mask) refuse("deform_conv2d_backward", "want_mask: expected false without a mask, got true");
  const Launch launch(input);
  const DeformConvCall call = prepared(s, border, input, offset, mask, weight, std::nullopt);
  const auto zeros = [&](bool wanted, const Tensor& like) -> std::optional<Tensor> {
    if (!wanted) return std::nullopt;
    Sizes sizes;
    for (int64_t i = 0; i < like.dim(); ++i) sizes.push_back(like.size(i));
    return torch::stable::new_zeros(input, sizes, accumulator_type(input));
  };
  DeformConvGradients gradients = {zeros(want_input, input), zeros(want_offset, offset),
                                   zeros(want_mask, mask ? *mask : offset), zeros(want_weight, weight)};
  if (s.images > 0) deform_conv_reference_backward(call, grad, gradients);
  const auto finished = [&](const std::optional<Tensor>& t, const Tensor& like) {
    return t ? narrowed(*t, like) : torch::stable::new_zeros(input, {0});
  };
  Tensor for_bias = torch::stable::new_zeros(input, {want_bias ? s.out_channels : 0});
  if (want_bias) {
    const Sizes over = {0, 2, 3};
    for_bias = narrowed(torch::stable::sum(grad, over, false, accumulator_type(input)), input);
  }
  Tensor for_input = finished(gradients.input, input);
  if (want_input) for_input = in_format_of(for_input, input);
  return {for_input, finished(gradients.offset, offset), finished(gradients.mask, mask ? *mask : offset),
          finished(gradients.weight, weight), for_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) { m.def("set_cuda_fused(bool on) -> bool"); }
STABLE_TORCH_LIBRARY_IMPL(dcn, CompositeExplicitAutograd, m) { m.impl("set_cuda_fused", TORCH_BOX(&set_cuda_fused)); }

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

}  // namespace dcn::cuda
