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

// Channels [block, block + channels) of one run and the panel from output `first` on. They are turned in the
// first-level cache, in `turned` [channel][tap][output], and then copied to their places: those lie a power of two
// apart, which caches cannot hold.
template <class T>
void pack_block(const DeformConvShape& s, const T* weight, PanelLayout layout, const ChannelRun& run, int64_t block,
                int64_t channels, int64_t first, T* turned, T* packed) {
  const int64_t depth = s.channels_per_group(), outputs = s.out_channels_per_group(), taps = s.taps();
  const int64_t padded = layout.padded(outputs), width = std::min<int64_t>(layout.panel, padded - first);
  const int64_t used = std::min(width, outputs - first), row = depth * taps;
  const T* from =
      weight + (run.weight_group * outputs + first) * row + (run.channel - run.weight_group * depth + block) * taps;
  if (used < width) std::memset(static_cast<void*>(turned), 0, channels * taps * width * sizeof(T));
  chosen_transpose<T>()(used, channels * taps, from, row, turned, width);
  for (int64_t tap = 0; tap < taps; ++tap) {
    T* to = place_of(packed, s, run, padded, first, width, tap, block);
    for (int64_t c = 0; c < channels; ++c) {
      std::memcpy(to + c * width, turned + (c * taps + tap) * width, width * sizeof(T));
    }
  }
}

// The loop that fills `packed`: [O, C/groups, K] -> ForwardJob::weight.
template <class T>
auto packing_weight(const DeformConvShape& s, const T* weight, PanelLayout layout, const std::vector<ChannelRun>& runs,
                    const Buffer<T>& packed) {
  constexpr int64_t ROWS_AT_ONCE = 144;  // of a panel: as many as fit into the first-level cache
  const int64_t padded = layout.padded(s.out_channels_per_group()), panels = (padded + layout.panel - 1) / layout.panel;
  const int64_t channels = std::clamp<int64_t>(ROWS_AT_ONCE / s.taps(), 1, PRODUCT_DEPTH);
  int64_t longest = 0;
  for (const ChannelRun& run : runs) longest = std::max(longest, run.channels);
  const int64_t blocks = (longest + channels - 1) / channels;
  const auto loop = [=, &s, &runs, to = packed.data()](int64_t begin, int64_t end) {
    const Buffer<T> turned(begin < end ? channels * s.taps() * layout.panel : 0);
    for (int64_t unit = begin; unit < end; ++unit) {
      const ChannelRun& run = runs[unit / blocks / panels];
      const int64_t block = unit % blocks * channels, first = unit / blocks % panels * layout.panel;
      if (block >= run.channels) continue;
      pack_block(s, weight, layout, run, block, std::min(channels, run.channels - block), first, turned.data(), to);
    }
  };
  return Loop<decltype(loop)>{static_cast<int64_t>(runs.size()) * panels * blocks, loop};
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
  const std::vector<ChannelRun> runs = channel_runs(s, PRODUCT_DEPTH, LINE<T>);
  const Buffer<T> map = room_for_pixel_map<T>(s.images, s.channels, pixels), weight(s.channels * s.taps() * padded);
  for_slices_of(filling_pixel_map(map, a.input, channels_last, s.images, s.channels, pixels),
                packing_weight(s, a.weight, layout, runs, weight));
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
      s.images * tiles, true,
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
