// Copies between NCHW or NHWC tensors and the pixel maps of the fused kernels (cpu/deform_conv_tiles.h).
#pragma once

#include <algorithm>

#include "cpu/deform_conv_tiles.h"
#include "cpu/transpose.h"
#include "cpu/workers.h"

namespace dcn::cpu {

template <class T>
constexpr int64_t LINE = 64 / sizeof(T);  // elements in a cache line

// Channels rounded up to whole cache lines, and one line more.
template <class T>
int64_t padded_pitch(int64_t channels) {
  return (channels + LINE<T> - 1) / LINE<T> * LINE<T> + LINE<T>;
}

// The loop over f(image, first pixel, end) on runs of pixels of all images; an image of no pixels is one empty run,
// which still has its zero pixel to be written.
template <class F>
auto pixel_runs(int64_t images, int64_t pixels, F f) {
  constexpr int64_t RUN = 32;
  const int64_t runs = std::max<int64_t>(1, (pixels + RUN - 1) / RUN);
  const auto loop = [=](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit % runs * RUN;
      f(unit / runs, first, std::min(first + RUN, pixels));
    }
  };
  return Loop<decltype(loop)>{images * runs, loop};
}

template <class T>
Buffer<T> room_for_pixel_map(int64_t images, int64_t channels, int64_t pixels) {
  return Buffer<T>(images * (pixels + 1) * padded_pitch<T>(channels));
}

// The loop that fills `map`: [N, C, pixels] or [N, pixels, C] -> map with one zero pixel more per image.
template <class T>
auto filling_pixel_map(const Buffer<T>& map, const T* tensor, bool channels_last, int64_t images, int64_t channels,
                       int64_t pixels) {
  const int64_t pitch = padded_pitch<T>(channels);
  const Transpose<T> transpose = chosen_transpose<T>();
  T* const data = map.data();
  return pixel_runs(images, pixels, [=](int64_t image, int64_t first, int64_t last) {
    T* target = data + image * (pixels + 1) * pitch;
    if (channels_last) {
      for (int64_t p = first; p < last; ++p) {
        std::memcpy(target + p * pitch, tensor + (image * pixels + p) * channels, channels * sizeof(T));
      }
    } else {
      transpose(channels, last - first, tensor + image * channels * pixels + first, pixels, target + first * pitch,
                pitch);
    }
    if (last == pixels) std::memset(static_cast<void*>(target + pixels * pitch), 0, pitch * sizeof(T));
  });
}

// The sum of `copies` maps -> [N, C, pixels] or [N, pixels, C]. The first map becomes the sum.
template <class T>
void from_pixel_maps(T* maps, int64_t copies, int64_t images, int64_t channels, int64_t pixels, bool channels_last,
                     T* tensor) {
  const int64_t pitch = padded_pitch<T>(channels), size = images * (pixels + 1) * pitch;
  const Transpose<T> transpose = chosen_transpose<T>();
  for_slices_of(pixel_runs(images, pixels, [=](int64_t image, int64_t first, int64_t last) {
    T* source = maps + (image * (pixels + 1) + first) * pitch;
    for (int64_t copy = 1; copy < copies; ++copy) {
      for (int64_t i = 0; i < (last - first) * pitch; ++i) source[i] += source[copy * size + i];
    }
    if (channels_last) {
      for (int64_t p = first; p < last; ++p) {
        std::memcpy(tensor + (image * pixels + p) * channels, source + (p - first) * pitch, channels * sizeof(T));
      }
    } else {
      transpose(last - first, channels, source, pitch, tensor + image * channels * pixels + first, pixels);
    }
  }));
}

// What every job of the fused kernels is told of its call; `map`: the input as a pixel map.
template <class T, class Job, class Arrays>
void describe_call(Job& job, const Arrays& a, const Buffer<T>& map) {
  job.shape = a.shape;
  job.border = a.border;
  job.input = {map.data(), a.shape.height * a.shape.width + 1, padded_pitch<T>(a.shape.channels)};
  job.offset = a.offset;
  job.mask = a.mask;
}

}  // namespace dcn::cpu
