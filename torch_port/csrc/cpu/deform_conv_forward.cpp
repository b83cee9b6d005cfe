// deform_conv2d forward on all threads: input to pixels once, weight to panels, then tile by tile.
#include <algorithm>
#include <vector>

#include "cpu/channel_runs.h"
#include "cpu/isa.h"
#include "cpu/pixel_maps.h"

namespace dcn::cpu {
namespace {

constexpr int64_t ROWS = 6;                // of the micro-kernel
constexpr int64_t LARGEST_TILE = 240;      // positions
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

// Where ForwardJob::weight has the panel from output `first` on, for one tap and the channels from `channel` on.
template <class T>
T* place_of(T* packed, const DeformConvShape& s, const ChannelRun& run, int64_t padded, int64_t first, int64_t width,
            int64_t tap, int64_t channel) {
  const int64_t at_once = taps_at_once(run), begin = tap / at_once * at_once;
  const int64_t depth = std::min(at_once, s.taps() - begin) * run.channels;
  return packed + (run.channel * s.taps() + begin * run.channels) * padded + first * depth +
         ((tap - begin) * run.channels + channel) * width;
}

// [O, C/groups, K] -> ForwardJob::weight. A block of channels and taps is turned in the first-level cache and then
// copied to its places: they lie a power of two apart, which caches cannot hold.
template <class T>
Buffer<T> packed_weight(const DeformConvShape& s, const T* weight, PanelLayout layout,
                        const std::vector<ChannelRun>& runs) {
  constexpr int64_t BLOCK = 16, TAPS = 16;
  const int64_t depth = s.channels_per_group(), outputs = s.out_channels_per_group(), taps = s.taps();
  const int64_t padded = layout.padded(outputs), panels = (padded + layout.panel - 1) / layout.panel;
  const Transpose<T> transpose = chosen_transpose<T>();
  Buffer<T> packed(s.channels * taps * padded);
  for_slices(static_cast<int64_t>(runs.size()) * panels, 1, [&](int64_t begin, int64_t end) {
    const Buffer<T> turned(TAPS * BLOCK * layout.panel, true);  // [tap][channel][output]
    for (int64_t unit = begin; unit < end; ++unit) {
      const ChannelRun& run = runs[unit / panels];
      const int64_t first = unit % panels * layout.panel, width = std::min<int64_t>(layout.panel, padded - first);
      const int64_t used = std::min(width, outputs - first), row = depth * taps;
      const T* from =
          weight + (run.weight_group * outputs + first) * row + (run.channel - run.weight_group * depth) * taps;
      for (int64_t block = 0; block < run.channels; block += BLOCK) {
        const int64_t channels = std::min(BLOCK, run.channels - block);
        for (int64_t tap = 0; tap < taps; tap += TAPS) {
          const int64_t count = std::min(TAPS, taps - tap);
          if (used < width) std::memset(static_cast<void*>(turned.data()), 0, count * BLOCK * width * sizeof(T));
          for (int64_t o = 0; o < used; o += BLOCK) {
            for (int64_t c = 0; c < channels; ++c) {
              transpose(std::min(BLOCK, used - o), count, from + o * row + (block + c) * taps + tap, row,
                        turned.data() + c * width + o, BLOCK * width);
            }
          }
          for (int64_t k = 0; k < count; ++k) {
            std::memcpy(place_of(packed.data(), s, run, padded, first, width, tap + k, block),
                        turned.data() + k * BLOCK * width, channels * width * sizeof(T));
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
    Buffer<SampleRecords<T>> records;
    Buffer<T> columns, sums;
  };
  const int64_t tiles = (s.positions() + job.tile - 1) / job.tile;
  for_units(
      s.images * tiles,
      [&] {
        return Space{Buffer<SampleRecords<T>>(record_blocks(job.tile)), Buffer<T>(job.tile * column_pitch),
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
