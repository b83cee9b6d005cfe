// roi_pool on the CPU: schema, checks, threads. The arithmetic is core/roi_pool.h.
#include "cpu/roi_pool.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "cpu/kernel_choice.h"
#include "cpu/roi_arguments.h"

namespace dcn::cpu {
namespace {

constexpr const char* NAME = "roi_pool";

template <class T>
void run_forward(const RoiPoolShape& s, double spatial_scale, const Tensor& input, const Tensor& rois, Tensor& output,
                 Tensor& argmax) {
  check_images(NAME, rois.const_data_ptr<T>(), s.num_rois, s.num_images);
  const RoiPoolArrays<T> a = {s,
                              mxnet_parameter<T>(spatial_scale),
                              input.const_data_ptr<T>(),
                              rois.const_data_ptr<T>(),
                              output.mutable_data_ptr<T>(),
                              argmax.mutable_data_ptr<int>()};
  const RoiPoolForward<T> variants[3] = DCN_VARIANTS(roi_pool_forward);
  const RoiPoolForward<T> kernel = kernel_for_isa(variants);
  const int64_t blocks = (s.channels + ROI_POOL_BLOCK - 1) / ROI_POOL_BLOCK;
  torch::stable::parallel_for(0, s.num_rois * blocks, 1, [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
}

std::tuple<Tensor, Tensor> roi_pool_with_argmax(const Tensor& input, const Tensor& rois, double spatial_scale,
                                                std::vector<int64_t> pooled_size) {
  const RoiPoolShape shape = checked_roi_pool_shape(NAME, input, rois, pooled_size);
  const Tensor x = torch::stable::contiguous(input, MemoryFormat::ChannelsLast);
  const Tensor r = torch::stable::contiguous(rois);
  Tensor output = torch::stable::new_empty(rois, {rois.size(0), input.size(1), pooled_size[0], pooled_size[1]});
  Tensor argmax = torch::stable::new_empty(rois, {rois.size(0), input.size(1), pooled_size[0], pooled_size[1]},
                                           ScalarType::Int);
  if (input.scalar_type() == ScalarType::Float) {
    run_forward<float>(shape, spatial_scale, x, r, output, argmax);
  } else {
    run_forward<double>(shape, spatial_scale, x, r, output, argmax);
  }
  return {in_format_of(output, input), argmax};
}

Tensor roi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, std::vector<int64_t> pooled_size) {
  return std::get<0>(roi_pool_with_argmax(input, rois, spatial_scale, pooled_size));
}

// No other thread touches a channel's planes, and each sees the RoIs in order, so the result does not depend on the
// number of threads. A few channels at a time, whose planes stay in cache.
template <class T>
void backward(const Tensor& grad, const Tensor& rois, const Tensor& argmax, Tensor& result) {
  constexpr int64_t BLOCK = 8;
  const int64_t channels = result.size(1), plane_size = result.size(2) * result.size(3);
  const int64_t bins = grad.size(2) * grad.size(3), num_rois = rois.size(0);
  const T *g = grad.const_data_ptr<T>(), *r = rois.const_data_ptr<T>();
  const int* cells = argmax.const_data_ptr<int>();
  T* to = result.mutable_data_ptr<T>();
  std::vector<int> image(num_rois);
  for (int64_t roi = 0; roi < num_rois; ++roi) image[roi] = roi_image(r + roi * 5, static_cast<int>(result.size(0)));
  torch::stable::parallel_for(0, (channels + BLOCK - 1) / BLOCK, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t last = std::min(channels, (block + 1) * BLOCK);
      for (int64_t roi = 0; roi < num_rois; ++roi) {
        if (image[roi] < 0) continue;
        for (int64_t c = block * BLOCK; c < last; ++c) {
          T* plane = to + (image[roi] * channels + c) * plane_size;
          const T* from = g + (roi * channels + c) * bins;
          const int* cell = cells + (roi * channels + c) * bins;
          for (int64_t bin = 0; bin < bins; ++bin) {
            if (cell[bin] >= 0 && cell[bin] < plane_size) plane[cell[bin]] += from[bin];
          }
        }
      }
    }
  });
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, const Tensor& argmax) {
  checked_roi_pool_argmax(NAME, grad, input, rois, argmax);
  const Tensor g = torch::stable::contiguous(grad), r = torch::stable::contiguous(rois);
  const Tensor a = torch::stable::contiguous(argmax);
  Tensor result = torch::stable::new_zeros(input, {input.size(0), input.size(1), input.size(2), input.size(3)});
  if (input.scalar_type() == ScalarType::Float) {
    backward<float>(g, r, a, result);
  } else {
    backward<double>(g, r, a, result);
  }
  return in_format_of(result, input);
}

}  // namespace
}  // namespace dcn::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def("roi_pool(Tensor input, Tensor rois, *, float spatial_scale, int[2] pooled_size) -> Tensor");
  m.def(
      "roi_pool_with_argmax(Tensor input, Tensor rois, *, float spatial_scale, int[2] pooled_size) -> "
      "(Tensor, Tensor)");
  m.def("roi_pool_backward(Tensor grad, Tensor input, Tensor rois, Tensor argmax) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) {
  m.impl("roi_pool", TORCH_BOX(&dcn::cpu::roi_pool));
  m.impl("roi_pool_with_argmax", TORCH_BOX(&dcn::cpu::roi_pool_with_argmax));
  m.impl("roi_pool_backward", TORCH_BOX(&dcn::cpu::roi_pool_backward));
}
