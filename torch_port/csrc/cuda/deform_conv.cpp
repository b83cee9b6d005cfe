// deform_conv2d on CUDA: checks in the CPU library's words, choice of kernels. Schema: cpu/deform_conv.cpp.
#include <torch/csrc/stable/library.h>

#include <string>
#include <tuple>
#include <vector>

#include "arguments/deform_conv.h"
#include "cuda/deform_conv_call.h"
#include "cuda/launch.h"

namespace dcn::cuda {
namespace {

using namespace deform_conv;

DeformConvCall prepared(const DeformConvShape& shape, const std::string& border, const Tensor& input,
                        const Tensor& offset, const std::optional<Tensor>& mask, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
  const DeformConvCall call = {NAME, shape, border_named(border), input, dense(offset), dense(weight), dense(mask),
                               dense(bias)};
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
    if (s.images == 0 || (fused_allowed() && deform_conv_fused_forward(call, memory, true))) return output;
  }
  Tensor output = torch::stable::new_empty(input, output_sizes(s));
  if (s.images == 0) return output;
  if (!fused_allowed() || !deform_conv_fused_forward(call, output, false)) {
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
  check_backward(s, grad, input, mask.has_value(), want_mask);
  const Launch launch(input);
  const DeformConvCall call = prepared(s, border, input, offset, mask, weight, std::nullopt);
  const DeformConvWanted wanted = {want_input, want_offset, want_mask, want_weight};
  DeformConvGradients gradients;
  if (s.images == 0 || !fused_allowed() || !deform_conv_fused_backward(call, grad, wanted, gradients)) {
    deform_conv_reference_backward(call, grad, wanted, gradients);
  }
  const auto finished = [&](const std::optional<Tensor>& t, const Tensor& like) {
    return t ? narrowed(*t, like) : torch::stable::new_zeros(input, {0});
  };
  Tensor for_bias = torch::stable::new_zeros(input, {want_bias ? s.out_channels : 0});
  if (want_bias) {
    const Sizes over = {0, 2, 3};
    for_bias = narrowed(torch::stable::sum(grad, over, false, accumulator_type(input)), input);
  }
  Tensor for_input = finished(gradients.input, input);
  if (want_input) for_input = is_channels_last(input) ? in_format_of(for_input, input) : dense(for_input);
  return {for_input, finished(gradients.offset, offset), finished(gradients.mask, mask ? *mask : offset),
          finished(gradients.weight, weight), for_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

}  // namespace dcn::cuda
