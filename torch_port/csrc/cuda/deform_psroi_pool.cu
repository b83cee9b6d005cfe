// deform_psroi_pool on CUDA: checks, types, launches. Schema: cpu/deform_psroi_pool.cpp.
#include "cuda/deform_psroi_pool.cuh"

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "arguments/roi_pooling.h"
#include "cuda/arguments.h"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "deform_psroi_pool";

bool is_empty(const DeformPsroiShape& s) { return s.num_images == 0 || s.height == 0 || s.width == 0; }

// Contiguous copies where they are needed, alive as long as the kernels that read them are being launched.
struct Operands {
  Tensor input, rois;
  std::optional<Tensor> offset;

  Operands(const Tensor& x, const Tensor& r, const std::optional<Tensor>& o)
      : input(torch::stable::contiguous(x)),
        rois(widened(r, accumulator_type(x))),
        offset(o ? std::optional<Tensor>(widened(*o, accumulator_type(x))) : std::nullopt) {}

  template <class S, class T>
  DeformPsroiArrays<S, T> arrays(const DeformPsroiShape& shape, double spatial_scale, double trans_std) const {
    return {shape, mxnet_parameter<T>(spatial_scale), mxnet_parameter<T>(trans_std), read<S>(input), read<T>(rois),
            offset ? read<T>(*offset) : nullptr};
  }
};

Tensor deform_psroi_pool(const Tensor& input, const Tensor& rois, const std::optional<Tensor>& offset,
                         double spatial_scale, int64_t output_dim, int64_t group_size, int64_t pooled_size,
                         std::optional<int64_t> part_size, int64_t sample_per_part, double trans_std) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  const Launch launch(input);
  const Operands operands(input, rois, offset);
  Tensor output = torch::stable::new_empty(input, {rois.size(0), output_dim, pooled_size, pooled_size});
  if (is_empty(shape)) return in_format_of(torch::stable::zero_(output), input);
  for_type_of(NAME, "input", input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    launch.over("deform_psroi_pool forward", output.numel(), deform_psroi_forward<S, T>,
                operands.arrays<S, T>(shape, spatial_scale, trans_std), write<S>(output), output.numel());
  });
  return in_format_of(output, input);
}

std::tuple<Tensor, Tensor> deform_psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois,
                                                      const std::optional<Tensor>& offset, double spatial_scale,
                                                      int64_t output_dim, int64_t group_size, int64_t pooled_size,
                                                      std::optional<int64_t> part_size, int64_t sample_per_part,
                                                      double trans_std) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  const Launch launch(input);
  const Operands operands(input, rois, offset);
  const Tensor g = torch::stable::contiguous(grad);
  const ScalarType sums = accumulator_type(input);
  Tensor for_input = torch::stable::new_zeros(input, {input.size(0), input.size(1), input.size(2), input.size(3)}, sums);
  Tensor for_offset =
      offset ? torch::stable::new_zeros(input, {offset->size(0), offset->size(1), offset->size(2), offset->size(3)}, sums)
             : torch::stable::new_zeros(input, {0});
  if (!is_empty(shape)) {
    for_type_of(NAME, "input", input, [&](auto type) {
      using S = typename decltype(type)::Data;
      using T = typename decltype(type)::Sum;
      const auto a = operands.arrays<S, T>(shape, spatial_scale, trans_std);
      if (deterministic()) {
        launch.over("deform_psroi_pool grad_input, ordered", for_input.numel(), deform_psroi_grad_input_ordered<S, T>,
                    a, read<S>(g), write<T>(for_input), for_input.numel());
      } else {
        launch.over("deform_psroi_pool grad_input", g.numel(), deform_psroi_grad_input_atomic<S, T>, a, read<S>(g),
                    write<T>(for_input), g.numel());
      }
      if (!offset) return;
      launch.over("deform_psroi_pool grad_offset", for_offset.numel() / 2, deform_psroi_grad_offset<S, T>, a,
                  read<S>(g), write<T>(for_offset), for_offset.numel() / 2);
    });
  }
  return {in_format_of(narrowed(for_input, input), input), narrowed(for_offset, input)};
}

}  // namespace
}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) {
  m.impl("deform_psroi_pool", TORCH_BOX(&dcn::cuda::deform_psroi_pool));
  m.impl("deform_psroi_pool_backward", TORCH_BOX(&dcn::cuda::deform_psroi_pool_backward));
}
