// Copies between NCHW or NHWC tensors and the pixel maps of the fused kernels (cpu/deform_conv_tiles.h).
#pragma once

#include "cpu/deform_conv_tiles.h"
#include "cpu/workers.h"

namespace dcn::cpu {

template <class T>
constexpr int64_t LINE = 64 / sizeof(T);  // elements in a cache line

// Channels rounded up to whole cache lines, and one line more.
template <class T>
int64_t padded_pitch(int64_t channels) {
  return (channels + LINE<T> - 1) / LINE<T> * LINE<T> + LINE<T>;
}

// [N, C, pixels] or [N, pixels, C] -> map with one zero pixel more per image.
template <class T>
Buffer<T> to_pixel_map(const T* tensor, bool channels_last, int64_t images, int64_t channels, int64_t pixels) {
  constexpr int64_t BLOCK = LINE<T>;
  const int64_t pitch = padded_pitch<T>(channels), blocks = pixels / BLOCK + 1;  // the last one holds the zero pixel
  Buffer<T> map(images * (pixels + 1) * pitch);
  for_slices(images * blocks, 1, [&](int64_t slice_begin, int64_t slice_end) {
    for (int64_t unit = slice_begin; unit < slice_end; ++unit) {
      const int64_t image = unit / blocks, first = unit % blocks * BLOCK;
      const int64_t last = first + BLOCK < pixels ? first + BLOCK : pixels;
      T* target = map.data() + image * (pixels + 1) * pitch;
      if (channels_last) {
        for (int64_t p = first; p < last; ++p) {
          std::memcpy(target + p * pitch, tensor + (image * pixels + p) * channels, channels * sizeof(T));
        }
      } else {
        for (int64_t c = 0; c < channels; ++c) {
          const T* source = tensor + (image * channels + c) * pixels;
          for (int64_t p = first; p < last; ++p) target[p * pitch + c] = source[p];
        }
      }
      if (last == pixels) std::memset(static_cast<void*>(target + pixels * pitch), 0, pitch * sizeof(T));
    }
  });
  return map;
}

// The sum of `copies` maps -> [N, C, pixels] or [N, pixels, C].
template <class T>
void from_pixel_maps(const T* maps, int64_t copies, int64_t images, int64_t channels, int64_t pixels,
                     bool channels_last, T* tensor) {
  constexpr int64_t BLOCK = LINE<T>;
  const int64_t pitch = padded_pitch<T>(channels), blocks = (pixels + BLOCK - 1) / BLOCK;
  const int64_t size = images * (pixels + 1) * pitch;
  for_slices(images * blocks, 1, [&](int64_t slice_begin, int64_t slice_end) {
    for (int64_t unit = slice_begin; unit < slice_end; ++unit) {
      const int64_t image = unit / blocks, first = unit % blocks * BLOCK;
      const int64_t last = first + BLOCK < pixels ? first + BLOCK : pixels;
      for (int64_t copy = 0; copy < copies; ++copy) {
        const T* source = maps + copy * size + image * (pixels + 1) * pitch;
        const auto add = [&](T& target, T value) { target = copy == 0 ? value : target + value; };
        if (channels_last) {
          for (int64_t p = first; p < last; ++p) {
            T* target = tensor + (image * pixels + p) * channels;
            for (int64_t c = 0; c < channels; ++c) add(target[c], source[p * pitch + c]);
          }
        } else {
          for (int64_t c = 0; c < channels; ++c) {
            T* target = tensor + (image * channels + c) * pixels;
            for (int64_t p = first; p < last; ++p) add(target[p], source[p * pitch + c]);
          }
        }
      }
    }
  });
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
