// deform_conv2d on the CPU: schema, checks, choice of kernels. The arithmetic is core/deform_conv.h.
//
// float32: vector kernels, or split products on the matrix unit where they were chosen. float64: vector kernels.
// bfloat16: the matrix unit, or, as float16 always, widened to float32 and back. Coordinates are float32 or wider.
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
  const ScalarType type = input.scalar_type();
  if (!is_float32_or_float64(input) && type != ScalarType::BFloat16 && type != ScalarType::Half) {
    refuse(NAME, "input: expected float32, float64, bfloat16 or float16, got ", dtype_text(input));
  }
}

// `t` as `type`; in the same memory format.
Tensor converted(const Tensor& t, ScalarType type) { return t.scalar_type() == type ? t : torch::stable::to(t, type); }
std::optional<Tensor> converted(const std::optional<Tensor>& t, ScalarType type) {
  return t ? std::optional<Tensor>(converted(*t, type)) : std::nullopt;
}

template <class T>
const T* read(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
const T* read(const std::optional<Tensor>& t) {
  return t ? read<T>(*t) : nullptr;
}
template <class T>
T* written(const Tensor& t, bool wanted = true) {
  return wanted ? static_cast<T*>(t.mutable_data_ptr()) : nullptr;
}

// One forward call in memory: T of maps, C of coordinates.
struct Forward {
  DeformConvShape shape;
  Border border;
  bool channels_last;
  Tensor input, offset, weight, output;
  std::optional<Tensor> mask, bias;

  template <class T, class C>
  DeformConvArrays<T, C> arrays() const {
    DeformConvArrays<T, C> a = {};
    a.shape = shape;
    a.border = border;
    a.input = read<T>(input);
    a.offset = read<C>(offset);
    a.mask = read<C>(mask);
    a.weight = read<T>(weight);
    a.bias = read<T>(bias);
    a.output = written<T>(output);
    return a;
  }

  template <class T>
  void run() const {
    const DeformConvArrays<T> a = arrays<T, T>();
    if (chosen_isa() == Isa::plain) return plain_deform_conv_forward(a, channels_last);
    if constexpr (sizeof(T) == 4) {
      if (chosen_precision() == Precision::bf16x3 && amx_available() && amx_deform_conv_forward(a, channels_last)) {
        return;
      }
    }
    tiled_deform_conv_forward(a, channels_last);
  }

  // False: nothing done.
  bool run_bfloat16() const {
    return input.scalar_type() == ScalarType::BFloat16 && amx_available() &&
           amx_deform_conv_forward(arrays<Bf16, float>(), channels_last);
  }
};

Tensor deform_conv2d(const Tensor& input, const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
                     const std::optional<Tensor>& bias, Sizes stride, Sizes padding, Sizes dilation,
                     std::string border) {
  check_type(input);
  const DeformConvShape s = checked_shape(input, offset, mask, weight, bias, stride, padding, dilation);
  const ScalarType wide = accumulator_type(input);
  const bool last = is_channels_last(input);
  Forward call = {s,
                  border_named(border),
                  last,
                  input,
                  dense(converted(offset, wide)),
                  dense(weight),
                  empty_like_format(input, output_sizes(s), last),
                  dense(converted(mask, wide)),
                  dense(bias)};
  if (s.images == 0) return call.output;
  if (!last || chosen_isa() == Isa::plain) call.input = dense(input);
  if (is_float32_or_float64(input)) {
    by_type(input, [&](auto zero) { call.run<decltype(zero)>(); });
  } else if (!call.run_bfloat16()) {
    // Not the strides of a view: a conversion keeps their order, and could make channels_last of it.
    return converted(deform_conv2d(converted(last ? input : call.input, wide), call.offset, call.mask,
                                   converted(weight, wide), converted(bias, wide), stride, padding, dilation, border),
                     input.scalar_type());
  }
  return call.output;
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

struct Wanted {
  bool input, offset, mask, weight, bias;
};

// One backward call in memory. Gradients come zero-filled, that of input not: it is written whole.
struct Backward {
  Forward forward;
  bool grad_last;
  Wanted want;
  Tensor grad, for_input, for_offset, for_mask, for_weight, for_bias;

  template <class T, class C>
  DeformConvArrays<T, C> arrays() const {
    DeformConvArrays<T, C> a = forward.arrays<T, C>();
    a.grad = read<T>(grad);
    a.grad_input = written<T>(for_input, want.input);
    a.grad_offset = written<C>(for_offset, want.offset);
    a.grad_mask = written<C>(for_mask, want.mask);
    a.grad_weight = written<T>(for_weight, want.weight);
    a.grad_bias = written<T>(for_bias, want.bias);
    return a;
  }

  template <class T>
  void run() const {
    const DeformConvArrays<T> a = arrays<T, T>();
    if (chosen_isa() == Isa::plain) return plain_deform_conv_backward(a);
    if constexpr (sizeof(T) == 4) {
      if (chosen_precision() == Precision::bf16x3 && amx_available() &&
          amx_deform_conv_backward(a, forward.channels_last, grad_last)) {
        return;
      }
    }
    tiled_deform_conv_backward(a, forward.channels_last, grad_last);
  }

  bool run_bfloat16() const {
    return forward.input.scalar_type() == ScalarType::BFloat16 && amx_available() &&
           amx_deform_conv_backward(arrays<Bf16, float>(), forward.channels_last, grad_last);
  }
};

Gradients deform_conv2d_backward(const Tensor& grad, const Tensor& input, const Tensor& offset,
                                 const std::optional<Tensor>& mask, const Tensor& weight, Sizes stride, Sizes padding,
                                 Sizes dilation, std::string border, bool want_input, bool want_offset, bool want_mask,
                                 bool want_weight, bool want_bias) {
  check_type(input);
  const DeformConvShape s = checked_shape(input, offset, mask, weight, std::nullopt, stride, padding, dilation);
  const Border rule = border_named(border);
  check_backward(s, grad, input, mask.has_value(), want_mask);
  const ScalarType wide = accumulator_type(input), type = input.scalar_type();
  const bool plain = chosen_isa() == Isa::plain, last = is_channels_last(input) && !plain;
  const bool grad_last = is_channels_last(grad) && !plain;
  const auto zeros = [&](bool wanted, const Tensor& like, ScalarType as) {
    return torch::stable::new_zeros(input, wanted ? sizes_of(like) : Sizes{0}, as);
  };
  const Tensor& mask_like = mask ? *mask : offset;
  const Forward forward = {s,
                           rule,
                           last,
                           last ? input : dense(input),
                           dense(converted(offset, wide)),
                           dense(weight),
                           grad,
                           dense(converted(mask, wide)),
                           std::nullopt};
  Backward call = {forward,
                   grad_last,
                   {want_input, want_offset, want_mask, want_weight, want_bias},
                   grad_last ? grad : dense(grad),
                   want_input ? empty_like_format(input, sizes_of(input), last) : zeros(false, input, type),
                   zeros(want_offset, offset, wide),
                   zeros(want_mask, mask_like, wide),
                   zeros(want_weight, weight, type),
                   torch::stable::new_zeros(input, {want_bias ? s.out_channels : 0})};
  const auto finished = [&] {
    return Gradients{plain && want_input ? in_format_of(call.for_input, input) : call.for_input,
                     converted(call.for_offset, offset.scalar_type()),
                     converted(call.for_mask, mask_like.scalar_type()), call.for_weight, call.for_bias};
  };
  if (s.images == 0) return finished();
  if (is_float32_or_float64(input)) {
    by_type(input, [&](auto zero) { call.run<decltype(zero)>(); });
  } else if (!call.run_bfloat16()) {
    std::tie(call.for_input, call.for_offset, call.for_mask, call.for_weight, call.for_bias) = deform_conv2d_backward(
        converted(grad, wide), converted(forward.input, wide), forward.offset, forward.mask, converted(weight, wide),
        stride, padding, dilation, border, want_input, want_offset, want_mask, want_weight, want_bias);
    for (Tensor* t : {&call.for_input, &call.for_weight, &call.for_bias}) *t = converted(*t, type);
  }
  return finished();
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
