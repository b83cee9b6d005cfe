// deform_conv2d on the CPU: schema, checks, choice of kernels. The arithmetic is core/deform_conv.h.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/deform_conv_tiles.h"
#include "cpu/isa.h"
#include "cpu/tensors.h"

namespace dcn::cpu {
namespace {

using namespace tensors;
using Sizes = std::vector<int64_t>;

constexpr const char* NAME = "deform_conv2d";

Border border_named(const std::string& name) {
  if (name == "clamp") return Border::clamp;
  if (name == "zeros") return Border::zeros;
  refuse(NAME, "border: expected \"clamp\" (MXNet's DeformableConvolution) or \"zeros\" (DCNv2, torchvision), got \"",
         name, "\"");
}

void check_pair(const char* name, const Sizes& value, int64_t smallest) {
  if (value.size() != 2 || value[0] < smallest || value[1] < smallest || value[0] > (1 << 20) || value[1] > (1 << 20)) {
    std::ostringstream got;
    for (size_t i = 0; i < value.size(); ++i) got << (i ? ", " : "") << value[i];
    refuse(NAME, name, ": expected two numbers (vertical, horizontal) from ", smallest, " to ", 1 << 20, ", got (",
           got.str(), ")");
  }
}

void check_companion(const char* name, const Tensor& t, const Tensor& input) {
  if (t.scalar_type() != input.scalar_type()) {
    refuse(NAME, name, ": expected input's dtype ", dtype_text(input), ", got ", dtype_text(t));
  }
  if (!t.is_cpu()) refuse(NAME, name, ": expected input's device, cpu, got another device");
}

void check_input_and_weight(const Tensor& input, const Tensor& weight) {
  if (input.dim() != 4) refuse(NAME, "input: expected [N, C, H, W], got ", shape_text(input));
  if (input.scalar_type() != ScalarType::Float && input.scalar_type() != ScalarType::Double) {
    refuse(NAME, "input: expected float32 or float64 on the CPU, got ", dtype_text(input), ": use .float()");
  }
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
  if (input.size(2) >= (1 << 24) || input.size(3) >= (1 << 24) || input.size(2) * input.size(3) >= INT32_MAX) {
    refuse(NAME, "input: expected height and width below 2^24 and fewer than 2^31 - 1 pixels, got ", shape_text(input));
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
  check_companion("offset", offset, input);
  if (mask) {
    if (!has_shape(*mask, {images, offset_groups * taps, out_height, out_width})) {
      refuse(NAME, "mask: expected [", images, ", ", offset_groups * taps, ", ", out_height, ", ", out_width, "] (",
             offset_groups, " offset groups by ", taps, " taps), got ", shape_text(*mask));
    }
    check_companion("mask", *mask, input);
  }
  if (bias) {
    if (!has_shape(*bias, {weight.size(0)})) {
      refuse(NAME, "bias: expected [", weight.size(0), "], got ", shape_text(*bias));
    }
    check_companion("bias", *bias, input);
  }
  const auto number = [](int64_t value) { return static_cast<int>(value); };
  return {images,
          channels,
          input.size(2),
          input.size(3),
          weight.size(0),
          out_height,
          out_width,
          number(kernel_h),
          number(kernel_w),
          number(stride[0]),
          number(stride[1]),
          number(padding[0]),
          number(padding[1]),
          number(dilation[0]),
          number(dilation[1]),
          number(channels / weight.size(1)),
          number(offset_groups)};
}

template <class T>
const T* data_or_null(const std::optional<Tensor>& t) {
  return t ? t->const_data_ptr<T>() : nullptr;
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
                     const std::optional<Tensor>& bias, Sizes stride, Sizes padding, Sizes dilation,
                     std::string border) {
  const DeformConvShape s = checked_shape(input, offset, mask, weight, bias, stride, padding, dilation);
  const Border rule = border_named(border);
  const bool last = is_channels_last(input), plain = chosen_isa() == Isa::plain;
  const std::vector<int64_t> size = {s.images, s.out_channels, s.out_height, s.out_width};
  const Tensor output = torch::stable::empty(size, input.scalar_type(), std::nullopt, input.device(), std::nullopt,
                                             last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
  if (s.images == 0) return output;
  const Tensor x = last && !plain ? input : dense(input), o = dense(offset), w = dense(weight);
  const std::optional<Tensor> m = dense(mask), b = dense(bias);
  by_type(input, [&](auto zero) {
    using T = decltype(zero);
    DeformConvArrays<T> a = {};
    a.shape = s;
    a.border = rule;
    a.input = x.const_data_ptr<T>();
    a.offset = o.const_data_ptr<T>();
    a.mask = data_or_null<T>(m);
    a.weight = w.const_data_ptr<T>();
    a.bias = data_or_null<T>(b);
    a.output = output.mutable_data_ptr<T>();
    if (plain) {
      plain_deform_conv_forward(a, last);
    } else {
      tiled_deform_conv_forward(a, last);
    }
  });
  return output;
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients deform_conv2d_backward(const Tensor& grad, const Tensor& input, const Tensor& offset,
                                 const std::optional<Tensor>& mask, const Tensor& weight, Sizes stride, Sizes padding,
                                 Sizes dilation, std::string border, bool want_input, bool want_offset, bool want_mask,
                                 bool want_weight, bool want_bias) {
  const DeformConvShape s = checked_shape(input, offset, mask, weight, std::nullopt, stride, padding, dilation);
  const Border rule = border_named(border);
  if (!has_shape(grad, {s.images, s.out_channels, s.out_height, s.out_width})) {
    refuse("deform_conv2d_backward", "grad: expected [", s.images, ", ", s.out_channels, ", ", s.out_height, ", ",
           s.out_width, "], got ", shape_text(grad));
  }
  check_companion("grad", grad, input);
  if (want_mask && !mask) refuse("deform_conv2d_backward", "want_mask: expected false without a mask, got true");
  const auto zeros = [&](bool wanted, const Tensor& like) {
    Tensor t = torch::stable::new_zeros(
        input, wanted ? std::vector<int64_t>(like.sizes().begin(), like.sizes().end()) : std::vector<int64_t>{0});
    return t;
  };
  Tensor for_input = zeros(want_input, input), for_offset = zeros(want_offset, offset);
  Tensor for_mask = zeros(want_mask, mask ? *mask : offset), for_weight = zeros(want_weight, weight);
  Tensor for_bias = torch::stable::new_zeros(input, {want_bias ? s.out_channels : 0});
  if (s.images > 0) {
    const bool plain = chosen_isa() == Isa::plain, in_place = is_channels_last(input) && !plain;
    const Tensor x = in_place ? input : dense(input), o = dense(offset), w = dense(weight), g = dense(grad);
    const std::optional<Tensor> m = dense(mask);
    by_type(input, [&](auto zero) {
      using T = decltype(zero);
      DeformConvArrays<T> a = {};
      a.shape = s;
      a.border = rule;
      a.input = x.const_data_ptr<T>();
      a.offset = o.const_data_ptr<T>();
      a.mask = data_or_null<T>(m);
      a.weight = w.const_data_ptr<T>();
      a.grad = g.const_data_ptr<T>();
      a.grad_input = want_input ? for_input.mutable_data_ptr<T>() : nullptr;
      a.grad_offset = want_offset ? for_offset.mutable_data_ptr<T>() : nullptr;
      a.grad_mask = want_mask ? for_mask.mutable_data_ptr<T>() : nullptr;
      a.grad_weight = want_weight ? for_weight.mutable_data_ptr<T>() : nullptr;
      a.grad_bias = want_bias ? for_bias.mutable_data_ptr<T>() : nullptr;
      if (plain) {
        plain_deform_conv_backward(a);
      } else {
        tiled_deform_conv_backward(a, in_place);
      }
    });
  }
  if (want_input) for_input = in_format_of(for_input, input);
  return {for_input, for_offset, for_mask, for_weight, for_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def(
      "deform_conv2d(Tensor input, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, int[2] stride, "
      "int[2] padding, int[2] dilation, str border) -> Tensor");
  m.def(
      "deform_conv2d_backward(Tensor grad, Tensor input, Tensor offset, Tensor? mask, Tensor weight, int[2] stride, "
      "int[2] padding, int[2] dilation, str border, bool want_input, bool want_offset, bool want_mask, "
      "bool want_weight, bool want_bias) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

}  // namespace dcn::cpu
