// deform_psroi_pool on CUDA: checks, types, launches. Schema: cpu/deform_psroi_pool.cpp.
#include "cuda/deform_psroi_pool.cuh"

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "arguments/roi_pooling.h"
#include "cuda/deform_psroi_pool_call.h"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "deform_psroi_pool";

bool is_empty(const DeformPsroiShape& s) {
  return s.num_rois == 0 || s.num_images == 0 || s.height == 0 || s.width == 0;
}

DeformPsroiCall prepared(const DeformPsroiShape& shape, double spatial_scale, double trans_std, const Tensor& input,
                         const Tensor& rois, const std::optional<Tensor>& offset) {
  const ScalarType sums = accumulator_type(input);
  return {NAME, shape, spatial_scale, trans_std, dense(input), widened(rois, sums),
          offset ? std::optional<Tensor>(widened(*offset, sums)) : std::nullopt};
}

template <class S, class T>
DeformPsroiArrays<S, T> arrays(const DeformPsroiCall& call) {
  return {call.shape, mxnet_parameter<T>(call.spatial_scale), mxnet_parameter<T>(call.trans_std), read<S>(call.input),
          read<T>(call.rois), call.offset ? read<T>(*call.offset) : nullptr};
}

void plain_forward(const DeformPsroiCall& call, Tensor& output) {
  const Launch launch(call.input);
  for_type_of(NAME, "input", call.input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    launch.over("deform_psroi_pool forward", output.numel(), deform_psroi_forward<S, T>, arrays<S, T>(call),
                write<S>(output), output.numel());
  });
}

// Of the type of sums; for_input zero-filled; none where nobody asked.
void plain_backward(const DeformPsroiCall& call, const Tensor& grad, std::optional<Tensor>& for_input,
                    std::optional<Tensor>& for_offset) {
  const Launch launch(call.input);
  for_type_of(NAME, "input", call.input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    const auto a = arrays<S, T>(call);
    if (for_input && deterministic()) {
      launch.over("deform_psroi_pool grad_input, ordered", for_input->numel(), deform_psroi_grad_input_ordered<S, T>, a,
                  read<S>(grad), write<T>(*for_input), for_input->numel());
    } else if (for_input) {
      launch.over("deform_psroi_pool grad_input", grad.numel(), deform_psroi_grad_input_atomic<S, T>, a, read<S>(grad),
                  write<T>(*for_input), grad.numel());
    }
    if (!for_offset) return;
    const int64_t count = for_offset->numel() / 2;
    launch.over("deform_psroi_pool grad_offset", count, deform_psroi_grad_offset<S, T>, a, read<S>(grad),
                write<T>(*for_offset), count);
  });
}

Tensor deform_psroi_pool(const Tensor& input, const Tensor& rois, const std::optional<Tensor>& offset,
                         double spatial_scale, int64_t output_dim, int64_t group_size, int64_t pooled_size,
                         std::optional<int64_t> part_size, int64_t sample_per_part, double trans_std) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  const Launch launch(input);
  Tensor output = torch::stable::new_empty(input, {rois.size(0), output_dim, pooled_size, pooled_size});
  if (is_empty(shape)) return in_format_of(torch::stable::zero_(output), input);
  const DeformPsroiCall call = prepared(shape, spatial_scale, trans_std, input, rois, offset);
  if (!fused_allowed() || !deform_psroi_fused_forward(call, output)) plain_forward(call, output);
  return in_format_of(output, input);
}

std::tuple<Tensor, Tensor> deform_psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois,
                                                      const std::optional<Tensor>& offset, double spatial_scale,
                                                      int64_t output_dim, int64_t group_size, int64_t pooled_size,
                                                      std::optional<int64_t> part_size, int64_t sample_per_part,
                                                      double trans_std, bool want_input, bool want_offset) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  const Launch launch(input);
  const ScalarType sums = accumulator_type(input);
  std::optional<Tensor> for_offset;
  std::optional<Tensor> for_input;
  if (offset && want_offset) for_offset = torch::stable::new_zeros(input, sizes_of(*offset), sums);
  if (want_input) for_input = uninitialised(input, sizes_of(input), input.scalar_type());
  if (!is_empty(shape)) {
    const DeformPsroiCall call = prepared(shape, spatial_scale, trans_std, input, rois, offset);
    const Tensor g = dense(grad);
    if (!fused_allowed() || !deform_psroi_fused_backward(call, g, for_input, for_offset)) {
      if (want_input) for_input = torch::stable::new_zeros(input, sizes_of(input), sums);
      plain_backward(call, g, for_input, for_offset);
      if (want_input) for_input = narrowed(*for_input, input);
    }
  } else if (want_input) {
    torch::stable::zero_(*for_input);
  }
  const Tensor none = torch::stable::new_zeros(input, {0});
  return {for_input ? in_format_of(*for_input, input) : none, for_offset ? narrowed(*for_offset, *offset) : none};
}

}  // namespace
}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) {
  m.impl("deform_psroi_pool", TORCH_BOX(&dcn::cuda::deform_psroi_pool));
  m.impl("deform_psroi_pool_backward", TORCH_BOX(&dcn::cuda::deform_psroi_pool_backward));
}
