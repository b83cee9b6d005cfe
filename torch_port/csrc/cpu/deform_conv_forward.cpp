// deform_conv2d forward on all threads: input to pixels once, weight to panels, then tile by tile.
#include <algorithm>
#include <vector>

#include "cpu/channel_runs.h"
#include "cpu/isa.h"
#include "cpu/pixel_maps.h"

namespace dcn::cpu {
namespace {

constexpr int64_t ROWS = 6;                // of the micro-kernel
constexpr int64_t LARGEST_TILE = 120;      // positions
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

// [O, C/groups, K] -> ForwardJob::weight.
template <class T>
Buffer<T> packed_weight(const DeformConvShape& s, const T* weight, PanelLayout layout,
                        const std::vector<ChannelRun>& runs) {
  const int64_t depth = s.channels_per_group(), outputs = s.out_channels_per_group(), taps = s.taps();
  const int64_t padded = layout.padded(outputs), panels = (padded + layout.panel - 1) / layout.panel;
  const Transpose<T> transpose = chosen_transpose<T>();
  Buffer<T> packed(s.channels * taps * padded, padded != outputs);
  constexpr int64_t BLOCK = 16;  // outputs: the lines of the weight that are read stay in the first-level cache
  for_slices(static_cast<int64_t>(runs.size()) * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const ChannelRun& run = runs[unit / panels];
      const int64_t first = unit % panels * layout.panel, width = std::min<int64_t>(layout.panel, padded - first);
      const int64_t used = std::min(width, outputs - first), at_once = taps_at_once(run);
      for (int64_t o = 0; o < used; o += BLOCK) {
        const T* from = weight + ((run.weight_group * outputs + first + o) * depth + run.channel -
                                  run.weight_group * depth) * taps;
        for (int64_t tap = 0; tap < taps; tap += at_once) {
          const int64_t count = std::min(at_once, taps - tap);
          T* to = packed.data() + (run.channel * taps + tap * run.channels) * padded + first * count * run.channels + o;
          for (int64_t c = 0; c < run.channels; ++c) {
            transpose(std::min(BLOCK, used - o), count, from + c * taps + tap, depth * taps, to + c * width,
                      run.channels * width);
          }
        }
      }
    }
  });
  return packed;
}

// Large tiles reuse the weight, as long as their sums stay in the second-level cache.
int64_t tile_size(const DeformConvShape& s, int64_t padded) {
  const int64_t fits = SUM_ELEMENTS / (padded * s.groups) / ROWS * ROWS;
  return even_tile(s, std::clamp<int64_t>(fits, 2 * ROWS, LARGEST_TILE), ROWS);
}

}  // namespace

template <class T>
void tiled_deform_conv_forward(const DeformConvArrays<T>& a, bool channels_last) {
  const DeformConvShape& s = a.shape;
  const Kernels<T> kernel = kernels<T>();
  const PanelLayout layout = kernel.layout(T());
  const int64_t pixels = s.height * s.width, padded = layout.padded(s.out_channels_per_group());
  const Buffer<T> map = to_pixel_map(a.input, channels_last, s.images, s.channels, pixels);
  const std::vector<ChannelRun> runs = channel_runs(s, PRODUCT_DEPTH, LINE<T>);
  const Buffer<T> weight = packed_weight(s, a.weight, layout, runs);
  ForwardJob<T> job = {};
  describe_call(job, a, map);
  job.runs = runs.data();
  job.num_runs = static_cast<int64_t>(runs.size());
  job.weight = weight.data();
  job.bias = a.bias;
  job.output = a.output;
  job.channels_last = channels_last;
  job.tile = tile_size(s, padded);
  const int64_t column_pitch = padded_pitch<T>(PRODUCT_DEPTH), sum_pitch = padded_pitch<T>(s.groups * padded);
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
