// roi_pool on CUDA, one thread per result; the arithmetic is core/roi_pool.h. Schema: cpu/roi_pool.cpp.
#include "core/roi_pool.h"

#include <torch/csrc/stable/library.h>

#include <tuple>
#include <vector>

#include "arguments/roi_pooling.h"
#include "cuda/arguments.h"
#include "cuda/launch.h"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "roi_pool";

template <class S, class T>
__global__ void roi_pool_forward(RoiPoolShape s, T spatial_scale, const S* input, const T* rois, S* output,
                                 int* argmax, int64_t count) {
  const int64_t plane_size = static_cast<int64_t>(s.height) * s.width;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int column = static_cast<int>(i % s.pooled_width);
    const int row = static_cast<int>(i / s.pooled_width % s.pooled_height);
    const int64_t outer = i / s.pooled_width / s.pooled_height;
    const int64_t channel = outer % s.channels, roi = outer / s.channels;
    const T* r = rois + roi * 5;
    const int image = roi_image(r, s.num_images);
    Maximum<T> best{T(0), EMPTY_BIN};
    if (image >= 0) {
      int y0, y1, x0, x1;
      roi_bin<T>(roi_cells(r[2], r[4], spatial_scale), row, s.pooled_height, s.height, y0, y1);
      roi_bin<T>(roi_cells(r[1], r[3], spatial_scale), column, s.pooled_width, s.width, x0, x1);
      const S* plane = input + (static_cast<int64_t>(image) * s.channels + channel) * plane_size;
      best = roi_maximum<S, T>(plane, s.width, 1, y0, y1, x0, x1);
    }
    output[i] = static_cast<S>(best.value);
    argmax[i] = best.cell;
  }
}

// One thread per element of grad; sums by atomicAdd, in no fixed order.
template <class S, class T>
__global__ void roi_pool_backward_atomic(RoiPoolShape s, const S* grad, const T* rois, const int* argmax,
                                         T* grad_input, int64_t count) {
  const int64_t plane_size = static_cast<int64_t>(s.height) * s.width;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int64_t outer = i / s.pooled_width / s.pooled_height;
    const int64_t channel = outer % s.channels, roi = outer / s.channels;
    const int image = roi_image(rois + roi * 5, s.num_images);
    const int64_t at = argmax[i];
    if (image < 0 || at < 0 || at >= plane_size) continue;
    atomicAdd(grad_input + (static_cast<int64_t>(image) * s.channels + channel) * plane_size + at,
              static_cast<T>(grad[i]));
  }
}

// One thread per plane, which adds RoI by RoI and bin by bin, as the CPU does.
template <class S, class T>
__global__ void roi_pool_backward_ordered(RoiPoolShape s, const S* grad, const T* rois, const int* argmax,
                                          T* grad_input, int64_t count) {
  const int64_t plane_size = static_cast<int64_t>(s.height) * s.width;
  const int64_t bins = static_cast<int64_t>(s.pooled_height) * s.pooled_width;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int64_t channel = i % s.channels;
    T* plane = grad_input + i * plane_size;
    for (int64_t roi = 0; roi < s.num_rois; ++roi) {
      if (roi_image(rois + roi * 5, s.num_images) != i / s.channels) continue;
      const int64_t first = (roi * s.channels + channel) * bins;
      for (int64_t bin = first; bin < first + bins; ++bin) {
        const int64_t at = argmax[bin];
        if (at >= 0 && at < plane_size) plane[at] += static_cast<T>(grad[bin]);
      }
    }
  }
}

std::tuple<Tensor, Tensor> roi_pool_with_argmax(const Tensor& input, const Tensor& rois, double spatial_scale,
                                                std::vector<int64_t> pooled_size) {
  const RoiPoolShape shape = checked_roi_pool_shape(NAME, input, rois, pooled_size);
  const Launch launch(input);
  const Tensor x = torch::stable::contiguous(input), r = widened(rois, accumulator_type(input));
  const std::vector<int64_t> sizes = {rois.size(0), input.size(1), pooled_size[0], pooled_size[1]};
  Tensor output = torch::stable::new_empty(input, sizes);
  Tensor argmax = torch::stable::new_empty(input, sizes, ScalarType::Int);
  for_type_of(NAME, "input", input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    launch.over("roi_pool forward", output.numel(), roi_pool_forward<S, T>, shape, mxnet_parameter<T>(spatial_scale),
                read<S>(x), read<T>(r), write<S>(output), write<int>(argmax), output.numel());
  });
  return {in_format_of(output, input), in_format_of(argmax, input)};
}

Tensor roi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, std::vector<int64_t> pooled_size) {
  return std::get<0>(roi_pool_with_argmax(input, rois, spatial_scale, pooled_size));
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, const Tensor& argmax) {
  const RoiPoolShape shape = checked_roi_pool_argmax(NAME, grad, input, rois, argmax);
  const Launch launch(input);
  const Tensor g = torch::stable::contiguous(grad), r = widened(rois, accumulator_type(input));
  const Tensor a = torch::stable::contiguous(argmax);
  Tensor result = torch::stable::new_zeros(
      input, {input.size(0), input.size(1), input.size(2), input.size(3)}, accumulator_type(input));
  for_type_of(NAME, "input", input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    if (deterministic()) {
      const int64_t planes = input.size(0) * input.size(1);
      launch.over("roi_pool backward, ordered", planes, roi_pool_backward_ordered<S, T>, shape, read<S>(g), read<T>(r),
                  read<int>(a), write<T>(result), planes);
    } else {
      launch.over("roi_pool backward", g.numel(), roi_pool_backward_atomic<S, T>, shape, read<S>(g), read<T>(r),
                  read<int>(a), write<T>(result), g.numel());
    }
  });
  return in_format_of(narrowed(result, input), input);
}

}  // namespace
}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) {
  m.impl("roi_pool", TORCH_BOX(&dcn::cuda::roi_pool));
  m.impl("roi_pool_with_argmax", TORCH_BOX(&dcn::cuda::roi_pool_with_argmax));
  m.impl("roi_pool_backward", TORCH_BOX(&dcn::cuda::roi_pool_backward));
}
