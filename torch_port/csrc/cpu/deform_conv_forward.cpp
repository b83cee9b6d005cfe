// deform_conv2d forward on all threads: input to pixels once, weight to panels, then tile by tile.
#include <algorithm>

#include "cpu/isa.h"
#include "cpu/pixel_maps.h"

namespace dcn::cpu {
namespace {

constexpr int64_t LARGEST_TILE = 120;      // positions; a multiple of the micro-kernel's 6 rows
constexpr int64_t SUM_ELEMENTS = 1 << 17;  // of one tile's output, so that it stays in the second-level cache

template <class T>
struct Kernels {
  PanelLayout (*layout)(T) = portable::panel_layout;
  void (*tile)(const ForwardJob<T>&, const ForwardSpace<T>&, int64_t, int64_t) = portable::forward_tile;
};

template <class T>
Kernels<T> kernels() {
  switch (chosen_isa()) {
#if DCN_HAVE_AVX512
    case Isa::avx512: return {avx512::panel_layout, avx512::forward_tile};
#endif
#if DCN_HAVE_AVX2
    case Isa::avx2: return {avx2::panel_layout, avx2::forward_tile};
#endif
    default: return {};
  }
}

// [O, C/groups, K] -> [groups][K][panels][C/groups][panel width].
template <class T>
Buffer<T> packed_weight(const DeformConvShape& s, const T* weight, PanelLayout layout) {
  const int64_t depth = s.channels_per_group(), outputs = s.out_channels_per_group(), taps = s.taps();
  const int64_t padded = layout.padded(outputs), panels = (padded + layout.panel - 1) / layout.panel;
  Buffer<T> packed(s.groups * taps * depth * padded, padded != outputs);
  constexpr int64_t BLOCK = 16;  // input channels: the lines that are written stay in the first-level cache
  for_slices(s.groups * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t group = unit / panels, first = unit % panels * layout.panel;
      const int64_t width = std::min<int64_t>(layout.panel, padded - first), used = std::min(width, outputs - first);
      for (int64_t block = 0; block < depth; block += BLOCK) {
        for (int64_t o = 0; o < used; ++o) {
          const T* source = weight + (group * outputs + first + o) * depth * taps;
          for (int64_t c = block; c < std::min(block + BLOCK, depth); ++c) {
            for (int64_t tap = 0; tap < taps; ++tap) {
              packed.data()[((group * taps + tap) * padded + first) * depth + c * width + o] = source[c * taps + tap];
            }
          }
        }
      }
    }
  });
  return packed;
}

// Large tiles reuse the weight; enough tiles keep all threads busy.
int64_t tile_size(const DeformConvShape& s, int64_t padded) {
  const int64_t share = s.images * s.positions() / (num_threads() * 4) / 6 * 6;
  const int64_t fits = SUM_ELEMENTS / (padded * s.groups) / 6 * 6;
  return std::min(std::clamp<int64_t>(std::min(share, fits), 12, LARGEST_TILE), s.positions());
}

}  // namespace

template <class T>
void tiled_deform_conv_forward(const DeformConvArrays<T>& a, bool channels_last) {
  const DeformConvShape& s = a.shape;
  const Kernels<T> kernel = kernels<T>();
  const PanelLayout layout = kernel.layout(T());
  const int64_t pixels = s.height * s.width, padded = layout.padded(s.out_channels_per_group());
  const Buffer<T> map = to_pixel_map(a.input, channels_last, s.images, s.channels, pixels);
  const Buffer<T> weight = packed_weight(s, a.weight, layout);
  ForwardJob<T> job = {};
  describe_call(job, a, map);
  job.weight = weight.data();
  job.bias = a.bias;
  job.output = a.output;
  job.channels_last = channels_last;
  job.tile = tile_size(s, padded);
  const int64_t column_pitch = padded_pitch<T>(s.channels), sum_pitch = padded_pitch<T>(s.groups * padded);
  struct Space {
    Buffer<SampleRecord<T>> records;
    Buffer<T> columns, sums;
  };
  const int64_t tiles = (s.positions() + job.tile - 1) / job.tile;
  for_units(
      s.images * tiles,
      [&] {
        return Space{Buffer<SampleRecord<T>>(job.tile), Buffer<T>(job.tile * column_pitch),
                     Buffer<T>(job.tile * sum_pitch)};
      },
      [&](const Space& own, int64_t unit) {
        const ForwardSpace<T> space = {own.records.data(), own.columns.data(), own.sums.data(), column_pitch,
                                       sum_pitch};
        kernel.tile(job, space, unit / tiles, unit % tiles * job.tile);
      });
}

template void tiled_deform_conv_forward(const DeformConvArrays<float>&, bool);
template void tiled_deform_conv_forward(const DeformConvArrays<double>&, bool);

}  // namespace dcn::cpu
