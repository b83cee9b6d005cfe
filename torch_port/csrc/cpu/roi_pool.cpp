// roi_pool on the CPU: schema, checks, threads. The arithmetic is core/roi_pool.h.
#include "cpu/roi_pool.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "cpu/kernel_choice.h"
#include "cpu/roi_maps.h"

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
                              argmax.mutable_data_ptr<int>(),
                              strides_of(output)};
  const RoiPoolForward<T> variants[3] = DCN_VARIANTS(roi_pool_forward);
  const RoiPoolForward<T> kernel = kernel_for_isa(variants);
  const int64_t blocks = (s.channels + ROI_POOL_BLOCK - 1) / ROI_POOL_BLOCK;
  torch::stable::parallel_for(0, s.num_rois * blocks, 1, [&](int64_t begin, int64_t end) { kernel(a, begin, end); });
}

// Reads the map with channels innermost: a map that lies otherwise is copied so, which vectors of channels earn back.
std::tuple<Tensor, Tensor> roi_pool_with_argmax(const Tensor& input, const Tensor& rois, double spatial_scale,
                                                std::vector<int64_t> pooled_size) {
  const RoiPoolShape shape = checked_roi_pool_shape(NAME, input, rois, pooled_size);
  const Tensor x = torch::stable::contiguous(input, MemoryFormat::ChannelsLast), r = dense(rois);
  const Sizes sizes = {rois.size(0), input.size(1), pooled_size[0], pooled_size[1]};
  Tensor output = empty_in_format_of(input, sizes);
  Tensor argmax = torch::stable::empty(sizes, ScalarType::Int, std::nullopt, input.device(), std::nullopt,
                                       is_channels_last(input) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
  by_type(input, [&](auto zero) { run_forward<decltype(zero)>(shape, spatial_scale, x, r, output, argmax); });
  return {output, argmax};
}

Tensor roi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, std::vector<int64_t> pooled_size) {
  return std::get<0>(roi_pool_with_argmax(input, rois, spatial_scale, pooled_size));
}

// One backward call in memory.
template <class T>
struct Spread {
  RoiPoolShape shape;
  std::vector<int> image;  // of every RoI, -1: it is none
  Strides map, pooled;
  const T* grad;
  const int* argmax;
  T* to;

  int64_t num_cells() const { return static_cast<int64_t>(shape.height) * shape.width; }
  int64_t num_bins() const { return static_cast<int64_t>(shape.pooled_height) * shape.pooled_width; }

  // The maps of channels [first, last) before anything is added, on the thread that will add: they stay in its cache.
  void clear(int64_t first, int64_t last) const {
    if (map.place != 1) return;  // channels lie side by side: cleared as a whole
    for (int64_t i = 0; i < shape.num_images; ++i) {
      T* planes = to + i * map.image;
      std::fill(planes + first * map.channel, planes + last * map.channel, T(0));
    }
  }

  // One channel of the RoI after this one moves nearer: only we know where it lies.
  void ask_for_next(int64_t roi, int64_t c) const {
    if (roi + 1 >= shape.num_rois) return;
    const int64_t begin = (roi + 1) * pooled.image + c * pooled.channel;
    for (int64_t i = begin; i < begin + num_bins(); i += 64 / static_cast<int64_t>(sizeof(int))) {
      __builtin_prefetch(argmax + i);
      __builtin_prefetch(grad + i);
      if constexpr (sizeof(T) == 8) __builtin_prefetch(grad + i + 8);
    }
  }

  // One RoI's share of channels [first, last). pixel: elements from one pixel to the next.
  template <class Pixel>
  void add(int64_t roi, int64_t first, int64_t last, Pixel pixel) const {
    const int64_t bins = num_bins();
    const auto cells = static_cast<unsigned>(num_cells());  // what is negative is larger as such
    T* image_to = to + image[roi] * map.image;
    const T* from = grad + roi * pooled.image;
    const int* cell = argmax + roi * pooled.image;
    if (pooled.channel == 1) {
      for (int64_t bin = 0; bin < bins; ++bin, from += pooled.place, cell += pooled.place) {
        for (int64_t c = first; c < last; ++c) {
          const auto at = static_cast<unsigned>(cell[c]);
          if (at < cells) image_to[c * map.channel + at * pixel] += from[c];
        }
      }
      return;
    }
    for (int64_t c = first; c < last; ++c) {
      T* plane = image_to + c * map.channel;
      ask_for_next(roi, c);
#pragma GCC unroll 7
      for (int64_t i = c * pooled.channel; i < c * pooled.channel + bins; ++i) {
        const auto at = static_cast<unsigned>(cell[i]);
        if (at < cells) plane[at * pixel] += from[i];
      }
    }
  }
};

// No other thread touches a channel, and each sees the RoIs in order, so the result does not depend on the number of
// threads. A few channels at a time, whose planes stay in cache.
template <class T>
void backward(const Spread<T>& spread) {
  constexpr int64_t BLOCK = 8;
  const int64_t channels = spread.shape.channels;
  with_pixel(spread.map, [&](auto pixel) {
    torch::stable::parallel_for(0, (channels + BLOCK - 1) / BLOCK, 1, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin * BLOCK; first < std::min(end * BLOCK, channels); first += BLOCK) {
        const int64_t last = std::min(first + BLOCK, channels);
        spread.clear(first, last);
        for (int64_t roi = 0; roi < spread.shape.num_rois; ++roi) {
          if (spread.image[roi] >= 0) spread.add(roi, first, last, pixel);
        }
      }
    });
  });
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, const Tensor& argmax) {
  const RoiPoolShape shape = checked_roi_pool_argmax(NAME, grad, input, rois, argmax);
  const bool last = is_channels_last(grad) && is_channels_last(argmax);  // both lie alike
  const Tensor g = last ? grad : dense(grad), a = last ? argmax : dense(argmax), r = dense(rois);
  Tensor result = empty_in_format_of(input, sizes_of(input));
  if (is_channels_last(result)) torch::stable::zero_(result);
  by_type(input, [&](auto zero) {
    using T = decltype(zero);
    Spread<T> spread = {shape, {}, strides_of(result), strides_of(g), g.const_data_ptr<T>(), a.const_data_ptr<int>(),
                        result.mutable_data_ptr<T>()};
    for (int64_t roi = 0; roi < shape.num_rois; ++roi) {
      spread.image.push_back(roi_image(r.const_data_ptr<T>() + roi * 5, shape.num_images));
    }
    backward(spread);
  });
  return result;
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
