// deform_conv2d backward on all threads: the unit of work is a block of channels, so that no two threads add to the
// same element. Deterministic for the same number of threads.
#include <algorithm>
#include <vector>

#include "cpu/channel_runs.h"
#include "cpu/isa.h"
#include "cpu/pixel_maps.h"
#include "cpu/sum_bias.h"

namespace dcn::cpu {
namespace {

constexpr int64_t TILE = 120;            // positions
constexpr int64_t BLOCK_BYTES = 64 * 4;  // of channels in a unit

template <class T>
struct Kernels {
  PanelLayout (*layout)(T) = portable::panel_layout;
  void (*unit)(const BackwardJob<T>&, const BackwardUnit&, const BackwardSpace<T>&,
               const BackwardTarget<T>&) = portable::backward_unit;
};

template <class T>
Kernels<T> kernels() {
  switch (chosen_isa()) {
#if DCN_HAVE_AVX512
    case Isa::avx512: return {avx512::panel_layout, avx512::backward_unit};
#endif
#if DCN_HAVE_AVX2
    case Isa::avx2: return {avx2::panel_layout, avx2::backward_unit};
#endif
    default: return {};
  }
}

// Channel blocks, each with where its own memory begins.
struct Block {
  BackwardUnit unit;
  int64_t weight_begin;  // in elements of [K][O/groups][padded]
};

template <class T>
std::vector<Block> channel_blocks(const DeformConvShape& s, PanelLayout layout, int64_t largest) {
  std::vector<Block> blocks;
  int64_t weight_begin = 0;
  for (const ChannelRun& run : channel_runs(s, largest, LINE<T>)) {
    const int64_t padded = layout.padded(run.channels);
    blocks.push_back({{run, padded, 0, s.taps()}, weight_begin});
    weight_begin += s.taps() * s.out_channels_per_group() * padded;
  }
  return blocks;
}

int64_t weight_size(const DeformConvShape& s, const std::vector<Block>& blocks) {
  const Block& last = blocks.back();
  return last.weight_begin + s.taps() * s.out_channels_per_group() * last.unit.padded;
}

// The loop over f(weights of one output of a block [channels][K], where the block has them: [K], `pitch` apart,
// [channels]).
template <class F>
auto each_weight(const DeformConvShape& s, const std::vector<Block>& blocks, F f) {
  const int64_t outputs = s.out_channels_per_group(), depth = s.channels_per_group(), taps = s.taps();
  const auto loop = [=, &blocks](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Block& block = blocks[i / outputs];
      const BackwardUnit& u = block.unit;
      const int64_t o = i % outputs;
      const int64_t row = ((u.weight_group * outputs + o) * depth + u.channel - u.weight_group * depth) * taps;
      f(u.channels, row, block.weight_begin + o * u.padded, outputs * u.padded);
    }
  };
  return Loop<decltype(loop)>{static_cast<int64_t>(blocks.size()) * outputs, loop};
}

// Blocks, each split by taps where there are fewer blocks than threads.
std::vector<BackwardUnit> split_by_taps(const std::vector<Block>& blocks, int64_t splits) {
  std::vector<BackwardUnit> units;
  for (const Block& block : blocks) {
    const int64_t taps = block.unit.last_tap;
    for (int64_t i = 0; i < splits; ++i) {
      units.push_back(block.unit);
      units.back().first_tap = taps * i / splits;
      units.back().last_tap = taps * (i + 1) / splits;
    }
  }
  return units;
}

// Adds up what the blocks of one offset group found: sums [block][N][K][3][P] -> grad_offset, grad_mask.
template <class T>
void gather_slopes(const DeformConvArrays<T>& a, const std::vector<Block>& blocks, const T* sums) {
  const DeformConvShape& s = a.shape;
  const int64_t positions = s.positions(), taps = s.taps(), size = s.images * taps * 3 * positions;
  for_slices(s.images * s.offset_groups * taps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t tap = unit % taps, group = unit / taps % s.offset_groups, image = unit / taps / s.offset_groups;
      T* const targets[3] = {a.grad_offset ? a.grad_offset + unit * 2 * positions : nullptr,
                             a.grad_offset ? a.grad_offset + (unit * 2 + 1) * positions : nullptr,
                             a.grad_mask ? a.grad_mask + unit * positions : nullptr};
      for (size_t block = 0; block < blocks.size(); ++block) {
        if (blocks[block].unit.offset_group != group) continue;
        const T* source = sums + block * size + (image * taps + tap) * 3 * positions;
        for (int k = 0; k < 3; ++k) {
          for (int64_t p = 0; targets[k] && p < positions; ++p) targets[k][p] += source[k * positions + p];
        }
      }
    }
  });
}

template <class T>
struct UnitSpace {
  Buffer<SampleRecords<T>> records;
  Buffer<SlopeRecords<T>> slopes;
  Buffer<T> columns, column_grads;
};

template <class T>
void run_units(const DeformConvArrays<T>& a, const Kernels<T>& kernel, bool channels_last, bool grad_last) {
  const DeformConvShape& s = a.shape;
  const PanelLayout layout = kernel.layout(T());
  const int64_t pixels = s.height * s.width, largest = BLOCK_BYTES / static_cast<int64_t>(sizeof(T));
  const std::vector<Block> blocks = channel_blocks<T>(s, layout, largest);
  const int64_t num_blocks = static_cast<int64_t>(blocks.size());
  const int64_t splits = std::min((num_threads() + num_blocks - 1) / num_blocks, s.taps());
  const std::vector<BackwardUnit> units = split_by_taps(blocks, splits);
  const int64_t pitch = padded_pitch<T>(s.channels), map_size = s.images * (pixels + 1) * pitch;
  const int64_t sums_size = s.images * s.taps() * 3 * s.positions();
  const bool slopes = a.grad_offset || a.grad_mask;

  const Buffer<T> map = room_for_pixel_map<T>(s.images, s.channels, pixels);
  const Buffer<T> grad = room_for_pixel_map<T>(s.images, s.out_channels, s.positions());
  const Buffer<T> weight(weight_size(s, blocks), true);
  const Buffer<T> grad_weight(a.grad_weight ? weight_size(s, blocks) : 0, true);
  const Buffer<T> sums(slopes ? num_blocks * sums_size : 0, true);
  const Buffer<T> grad_input(a.grad_input ? splits * map_size : 0, true);
  const Transpose<T> transpose = chosen_transpose<T>();
  for_slices_of(filling_pixel_map(map, a.input, channels_last, s.images, s.channels, pixels),
                filling_pixel_map(grad, a.grad, grad_last, s.images, s.out_channels, s.positions()),
                each_weight(s, blocks, [&](int64_t channels, int64_t from, int64_t to, int64_t pitch) {
                  transpose(channels, s.taps(), a.weight + from, s.taps(), weight.data() + to, pitch);
                }));

  BackwardJob<T> job = {};
  describe_call(job, a, map);
  job.grad = {grad.data(), s.positions() + 1, padded_pitch<T>(s.out_channels)};
  job.tile = std::min(TILE, s.positions());
  job.want_input = a.grad_input;
  job.want_slopes = a.grad_offset;
  job.want_mask = a.grad_mask;
  job.want_weight = a.grad_weight;
  for_units(
      static_cast<int64_t>(units.size()), false,
      [&] {
        const int64_t width = layout.padded(largest);
        return UnitSpace<T>{Buffer<SampleRecords<T>>(record_blocks(job.tile)),
                            Buffer<SlopeRecords<T>>(record_blocks(job.tile)), Buffer<T>(job.tile * width),
                            Buffer<T>(job.tile * width)};
      },
      [&](const UnitSpace<T>& own, int64_t index) {
        const BackwardUnit& unit = units[index];
        const int64_t block = index / splits, begin = blocks[block].weight_begin;
        std::memset(static_cast<void*>(own.columns.data()), 0, job.tile * unit.padded * sizeof(T));  // padding too
        const BackwardSpace<T> space = {own.records.data(), own.slopes.data(), own.columns.data(),
                                        own.column_grads.data()};
        const BackwardTarget<T> target = {weight.data() + begin,
                                          a.grad_weight ? grad_weight.data() + begin : nullptr,
                                          slopes ? sums.data() + block * sums_size : nullptr,
                                          {grad_input.data() + index % splits * map_size, pixels + 1, pitch}};
        kernel.unit(job, unit, space, target);
      });

  if (a.grad_weight) {
    for_slices_of(each_weight(s, blocks, [&](int64_t channels, int64_t to, int64_t from, int64_t pitch) {
      transpose(s.taps(), channels, grad_weight.data() + from, pitch, a.grad_weight + to, s.taps());
    }));
  }
  if (slopes) gather_slopes(a, blocks, sums.data());
  if (a.grad_input) {
    from_pixel_maps(grad_input.data(), splits, s.images, s.channels, pixels, channels_last, a.grad_input);
  };
}

}  // namespace

template <class T>
void tiled_deform_conv_backward(const DeformConvArrays<T>& a, bool channels_last, bool grad_last) {
  if (a.grad_bias) sum_bias(a, grad_last);
  if (a.grad_input || a.grad_offset || a.grad_mask || a.grad_weight) {
    run_units(a, kernels<T>(), channels_last, grad_last);
  }
}

template void tiled_deform_conv_backward(const DeformConvArrays<float>&, bool, bool);
template void tiled_deform_conv_backward(const DeformConvArrays<double>&, bool, bool);

}  // namespace dcn::cpu
