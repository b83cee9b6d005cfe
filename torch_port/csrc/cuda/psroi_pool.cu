// psroi_pool on CUDA, one thread per result; the arithmetic is core/psroi_pool.h. Schema: cpu/psroi_pool.cpp.
#include "core/psroi_pool.h"

#include <torch/csrc/stable/library.h>

#include "arguments/roi_pooling.h"
#include "cuda/arguments.h"
#include "cuda/launch.h"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "psroi_pool";

template <class S, class T>
__global__ void psroi_forward(PsroiShape s, T spatial_scale, const S* input, const T* rois, S* output, int64_t count) {
  const int64_t plane_size = static_cast<int64_t>(s.height) * s.width;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int column = static_cast<int>(i % s.pooled), row = static_cast<int>(i / s.pooled % s.pooled);
    const int64_t outer = i / s.pooled / s.pooled;
    const int64_t channel = outer % s.output_dim, roi = outer / s.output_dim;
    const int image = roi_image(rois + roi * 5, s.num_images);
    T value = 0;
    if (image >= 0) {
      const PsroiRoi<T> window = psroi_roi(rois + roi * 5, spatial_scale);
      const int64_t map = (channel * s.group + group_cell<T>(row, s.pooled, s.group)) * s.group +
                          group_cell<T>(column, s.pooled, s.group);
      value = psroi_mean<S, T>(input + (static_cast<int64_t>(image) * s.channels + map) * plane_size,
                               psroi_cells(window.y, row, s.pooled, s.height),
                               psroi_cells(window.x, column, s.pooled, s.width), s.width);
    }
    output[i] = static_cast<S>(value);
  }
}

// One thread per input element, which asks every RoI in the CPU's order: the sums are those of the CPU, and repeatable.
template <class S, class T>
__global__ void psroi_backward(PsroiShape s, T spatial_scale, const S* grad, const T* rois, S* grad_input,
                               int64_t count) {
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int x = static_cast<int>(i % s.width), y = static_cast<int>(i / s.width % s.height);
    const int64_t plane = i / s.width / s.height;
    const int image = static_cast<int>(plane / s.channels), map = static_cast<int>(plane % s.channels);
    const int64_t channel = map / (s.group * s.group);
    const int group_row = map / s.group % s.group, group_column = map % s.group;
    T sum = 0;
    for (int64_t roi = 0; roi < s.num_rois; ++roi) {
      if (roi_image(rois + roi * 5, s.num_images) != image) continue;
      const PsroiRoi<T> window = psroi_roi(rois + roi * 5, spatial_scale);
      for (int row = 0; row < s.pooled; ++row) {
        if (group_cell<T>(row, s.pooled, s.group) != group_row) continue;
        const CellRange rows = psroi_cells(window.y, row, s.pooled, s.height);
        if (y < rows.begin || y >= rows.end) continue;
        for (int column = 0; column < s.pooled; ++column) {
          if (group_cell<T>(column, s.pooled, s.group) != group_column) continue;
          const CellRange columns = psroi_cells(window.x, column, s.pooled, s.width);
          if (x < columns.begin || x >= columns.end) continue;
          const T from_above =
              static_cast<T>(grad[((roi * s.output_dim + channel) * s.pooled + row) * s.pooled + column]);
          sum = total(sum, from_above / static_cast<T>(rows.size() * columns.size()));
        }
      }
    }
    grad_input[i] = static_cast<S>(sum);
  }
}

Tensor psroi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, int64_t output_dim,
                  int64_t pooled_size, std::optional<int64_t> group_size) {
  const PsroiShape shape = checked_psroi_shape(NAME, input, rois, output_dim, pooled_size, group_size);
  const Launch launch(input);
  const Tensor x = torch::stable::contiguous(input), r = widened(rois, accumulator_type(input));
  Tensor output = torch::stable::new_empty(input, {rois.size(0), output_dim, pooled_size, pooled_size});
  for_type_of(NAME, "input", input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    launch.over("psroi_pool forward", output.numel(), psroi_forward<S, T>, shape, mxnet_parameter<T>(spatial_scale),
                read<S>(x), read<T>(r), write<S>(output), output.numel());
  });
  return in_format_of(output, input);
}

Tensor psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, double spatial_scale,
                           int64_t output_dim, int64_t pooled_size, std::optional<int64_t> group_size) {
  const PsroiShape shape = checked_psroi_shape(NAME, input, rois, output_dim, pooled_size, group_size);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  const Launch launch(input);
  const Tensor g = torch::stable::contiguous(grad), r = widened(rois, accumulator_type(input));
  Tensor result = torch::stable::new_empty(input, {input.size(0), input.size(1), input.size(2), input.size(3)});
  for_type_of(NAME, "input", input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    launch.over("psroi_pool backward", result.numel(), psroi_backward<S, T>, shape,
                mxnet_parameter<T>(spatial_scale), read<S>(g), read<T>(r), write<S>(result), result.numel());
  });
  return in_format_of(result, input);
}

}  // namespace
}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) {
  m.impl("psroi_pool", TORCH_BOX(&dcn::cuda::psroi_pool));
  m.impl("psroi_pool_backward", TORCH_BOX(&dcn::cuda::psroi_pool_backward));
}
