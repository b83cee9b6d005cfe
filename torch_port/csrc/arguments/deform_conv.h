// Argument checks of deform_conv2d, the same on every device. torch_port/ops/shapes.py says the same for fake tensors.
#pragma once

#include <optional>
#include <string>

#include "arguments/tensors.h"
#include "core/deform_conv.h"

namespace dcn::deform_conv {

constexpr const char* NAME = "deform_conv2d";
constexpr const char* BACKWARD_NAME = "deform_conv2d_backward";

inline Border border_named(const std::string& name) {
  if (name == "clamp") return Border::clamp;
  if (name == "zeros") return Border::zeros;
  refuse(NAME, "border: expected \"clamp\" (MXNet's DeformableConvolution) or \"zeros\" (DCNv2, torchvision), got \"",
         name, "\"");
}

inline void check_pair(const char* name, const Sizes& value, int64_t smallest) {
  constexpr int64_t LARGEST = 1 << 20;
  if (value.size() == 2 && value[0] >= smallest && value[1] >= smallest && value[0] <= LARGEST && value[1] <= LARGEST) {
    return;
  }
  std::ostringstream got;
  for (size_t i = 0; i < value.size(); ++i) got << (i ? ", " : "") << value[i];
  refuse(NAME, name, ": expected two numbers (vertical, horizontal) from ", smallest, " to ", LARGEST, ", got (",
         got.str(), ")");
}

inline void check_input_and_weight(const Tensor& input, const Tensor& weight) {
  if (input.dim() != 4) refuse(NAME, "input: expected [N, C, H, W], got ", shape_text(input));
  if (weight.dim() != 4) refuse(NAME, "weight: expected [O, C/groups, kh, kw], got ", shape_text(weight));
  check_companion(NAME, "weight", weight, input);
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
  if (input.size(2) >= (1 << 24) || input.size(3) >= (1 << 24) || input.size(2) * input.size(3) >= INT32_MAX) {
    refuse(NAME, "input: expected height and width below 2^24 and fewer than 2^31 - 1 pixels, got ", shape_text(input));
  }
}

// The types that a device's kernels take are its own to check.
inline DeformConvShape checked_shape(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask,
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
  check_positions(NAME, "offset", offset, input);
  if (mask) {
    if (!has_shape(*mask, {images, offset_groups * taps, out_height, out_width})) {
      refuse(NAME, "mask: expected [", images, ", ", offset_groups * taps, ", ", out_height, ", ", out_width, "] (",
             offset_groups, " offset groups by ", taps, " taps), got ", shape_text(*mask));
    }
    check_positions(NAME, "mask", *mask, input);
  }
  if (bias) {
    if (!has_shape(*bias, {weight.size(0)})) {
      refuse(NAME, "bias: expected [", weight.size(0), "], got ", shape_text(*bias));
    }
    check_companion(NAME, "bias", *bias, input);
  }
  const auto number = [](int64_t value) { return static_cast<int>(value); };
  return {images, channels, input.size(2), input.size(3), weight.size(0), out_height, out_width,
          number(kernel_h), number(kernel_w), number(stride[0]), number(stride[1]), number(padding[0]),
          number(padding[1]), number(dilation[0]), number(dilation[1]), number(channels / weight.size(1)),
          number(offset_groups)};
}

inline Sizes output_sizes(const DeformConvShape& s) { return {s.images, s.out_channels, s.out_height, s.out_width}; }

inline void check_backward(const DeformConvShape& s, const Tensor& grad, const Tensor& input, bool has_mask,
                           bool want_mask) {
  check_grad(BACKWARD_NAME, grad, input, output_sizes(s));
  if (want_mask && !has_mask) refuse(BACKWARD_NAME, "want_mask: expected false without a mask, got true");
}

}  // namespace dcn::deform_conv
