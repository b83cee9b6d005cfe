// deform_conv2d on the CPU: schema, checks, choice of kernels. The arithmetic
// is core/deform_conv.h.
#include "arguments/deform_conv.h"

#include <torch/csrc/stable/library.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/amx.h"
#include "cpu/deform_conv_amx.h"
#include "cpu/isa.h"
#include "cpu/tensors.h"

namespace dcn::cpu {
namespace {

using namespace deform_conv;

void check_type(const Tensor& input) {
  if (!is_float32_or_float64(input)) {
    refuse(NAME, "input: expected float32 or float64 on the CPU, got ", dtype_text(input), ": use .float()");
  }
}

// Split products on the matrix unit, where they were chosen and the values
// allow it.
template <class T>
bool split_forward(const DeformConvArrays<T>& a, bool channels_last) {
#if DCN_HAVE_AMX
  if constexpr (sizeof(T) == 4) {
    return chosen_precision() == Precision::bf16x3 && amx_available() && amx_deform_conv_forward(a, channels_last);
  }
#endif
  return false;
}

template <class T>
bool split_backward(const DeformConvArrays<T>& a, bool channels_last) {
#if DCN_HAVE_AMX
  if constexpr (sizeof(T) == 4) {
    return chosen_precision() == Precision::bf16x3 && amx_available() &&
           amx_deform_conv_backward(a, channels_last, false);
  }
#endif
  return false;
}

template <class T>
const T* data_or_null(const std::optional<Tensor>& t) {
  return t ? t->const_data_ptr<T>() : nullptr;
}

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
                     const std::optional<Tensor>& bias, Sizes stride, Sizes padding, Sizes dilation,
                     std::string border) {
  check_type(input);
  const DeformConvShape s = checked_shape(input, offset, mask, weight, bias, stride, padding, dilation);
  const Border rule = border_named(border);
  const bool last = is_channels_last(input), plain = chosen_isa() == Isa::plain;
  const Tensor output =
      torch::stable::empty(output_sizes(s), input.scalar_type(), std::nullopt, input.device(), std::nullopt,
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
    } else if (!split_forward(a, last)) {
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
  check_type(input);
  const DeformConvShape s = checked_shape(input, offset, mask, weight, std::nullopt, stride, padding, dilation);
  const Border rule = border_named(border);
  check_backward(s, grad, input, mask.has_value(), want_mask);
  const auto zeros = [&](bool wanted, const Tensor& like) {
    return torch::stable::new_zeros(input, wanted ? sizes_of(like) : Sizes{0});
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
      } else if (!split_backward(a, in_place)) {
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
      "deform_conv2d(Tensor input, Tensor offset, Tensor? mask, Tensor "
      "weight, Tensor? bias, int[2] stride, "
      "int[2] padding, int[2] dilation, str border) -> Tensor");
  m.def(
      "deform_conv2d_backward(Tensor grad, Tensor input, Tensor offset, "
      "Tensor? mask, Tensor weight, int[2] stride, "
      "int[2] padding, int[2] dilation, str border, bool want_input, bool "
      "want_offset, bool want_mask, "
      "bool want_weight, bool want_bias) -> (Tensor, Tensor, Tensor, Tensor, "
      "Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

}  // namespace dcn::cpu
