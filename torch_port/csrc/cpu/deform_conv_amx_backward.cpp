// deform_conv2d backward on the matrix unit, on all threads: the unit of work
// is a segment of channels, so that no two threads add to the same element.
#if DCN_HAVE_AMX
#include "cpu/amx_engine.h"
#include "cpu/sum_bias.h"

namespace dcn::cpu {
namespace {

constexpr int64_t LARGEST_TILE = 128;  // positions
constexpr int64_t CHANNELS = 128;      // in a segment, half as many where that leaves a thread without one

using namespace amx;

int64_t segment_channels(const DeformConvShape& s) {
  const int64_t wide = static_cast<int64_t>(segments_of(s, CHANNELS).size());
  return wide % num_threads() == 0 || wide >= 4 * num_threads() ? CHANNELS : CHANNELS / 2;
}

struct Space : Worker {
  Buffer<SampleRecords<float>> records;
  Buffer<SlopeRecords<float>> slopes;
  Buffer<float> column_grads, samples;
  Buffer<Bf16> columns;
  Space(int64_t tile, int64_t parts)
      : records(record_blocks(tile)),
        slopes(record_blocks(tile)),
        column_grads(tile * CHANNELS),
        samples(32 * CHANNELS),
        columns(tile * CHANNELS * parts) {}
};

template <class T>
bool values_split(const DeformConvArrays<T, float>& a) {
  if constexpr (sizeof(T) == 4) {
    const DeformConvShape& s = a.shape;
    return splittable({largest_of(a.input, s.images * s.channels * s.height * s.width),
                       largest_of(a.grad, s.images * s.out_channels * s.positions()),
                       largest_of(a.weight, s.out_channels * s.channels_per_group() * s.taps()),
                       a.mask ? largest_of(a.mask, s.images * s.offset_groups * s.taps() * s.positions()) : 0});
  }
  return true;
}

// Adds up what the segments of one offset group found: sums
// [segment][N][K][3][P] -> grad_offset, grad_mask.
void gather_slopes(const DeformConvShape& s, const std::vector<Segment>& segments, const float* sums,
                   float* grad_offset, float* grad_mask) {
  const int64_t positions = s.positions(), taps = s.taps(), size = s.images * taps * 3 * positions;
  for_slices(s.images * s.offset_groups * taps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t tap = unit % taps, group = unit / taps % s.offset_groups, image = unit / taps / s.offset_groups;
      float* const targets[3] = {grad_offset ? grad_offset + unit * 2 * positions : nullptr,
                                 grad_offset ? grad_offset + (unit * 2 + 1) * positions : nullptr,
                                 grad_mask ? grad_mask + unit * positions : nullptr};
      for (size_t i = 0; i < segments.size(); ++i) {
        if (segments[i].offset_group != group) continue;
        const float* source = sums + i * size + (image * taps + tap) * 3 * positions;
        for (int k = 0; k < 3; ++k) {
          for (int64_t p = 0; targets[k] && p < positions; ++p) targets[k][p] += source[k * positions + p];
        }
      }
    }
  });
}

template <class T>
void run_segments(const DeformConvArrays<T, float>& a, bool channels_last, bool grad_last) {
  constexpr int64_t P = sizeof(T) == 4 ? 2 : 1;
  const DeformConvShape& s = a.shape;
  std::vector<Segment> segments = segments_of(s, segment_channels(s));
  const int64_t num_segments = static_cast<int64_t>(segments.size()), all_steps = steps_of(segments);
  std::vector<int64_t> before;  // steps of 32 channels before each segment
  for (Segment& segment : segments) {
    before.push_back(segment.begin);
    segment.begin *= 32;
  }
  const int64_t splits = std::min((num_threads() + num_segments - 1) / num_segments, s.taps());
  const int64_t pixels = s.height * s.width, positions = s.positions(), outputs = s.out_channels_per_group();
  const int64_t position_steps = steps32(positions), output_steps = steps32(outputs);
  const int64_t weight_step = s.taps() * output_steps * 2 * P * TILE_ELEMENTS;  // per 32 channels
  const int64_t sum_step = s.taps() * tiles16(outputs) * 2 * 256;
  const int64_t plane = position_steps * output_steps * 2 * P * TILE_ELEMENTS;
  const int64_t slot_pitch = all_steps * 32 + 16, map_size = s.images * (pixels + 1) * slot_pitch;
  const int64_t sums_size = s.images * s.taps() * 3 * positions;
  const bool slopes = a.grad_offset || a.grad_mask, need_grads = slopes || a.grad_input;

  const Buffer<T> map = room_for_pixel_map<T>(s.images, s.channels, pixels);
  const Buffer<Bf16> rows(s.images * s.groups * plane), columns(s.images * s.groups * plane);
  const Buffer<Bf16> weight(need_grads ? all_steps * weight_step : 0);
  const Buffer<float> grad_weight(a.grad_weight ? all_steps * sum_step : 0);
  const Buffer<float> sums(slopes ? num_segments * sums_size : 0, true);
  const Buffer<float> grad_input(a.grad_input ? splits * map_size : 0, true);
  const auto turn_grad = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t which = i / position_steps;
      pack_grad(s, a.grad, grad_last, which / s.groups, which % s.groups, i % position_steps * 32,
                rows.data() + which * plane, columns.data() + which * plane);
    }
  };
  const auto pack = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t segment = i / s.taps(), tap = i % s.taps();
      pack_backward_weight(
          s, a.weight, segments[segment], tap,
          weight.data() + before[segment] * weight_step + tap * segments[segment].steps * (weight_step / s.taps()));
    }
  };
  for_slices_of(filling_pixel_map(map, a.input, channels_last, s.images, s.channels, pixels),
                Loop<decltype(turn_grad)>{s.images * s.groups * position_steps, turn_grad},
                Loop<decltype(pack)>{need_grads ? num_segments * s.taps() : 0, pack});

  BackwardArguments<T> job = {};
  describe_call(job, a, map);
  job.grad_rows = rows.data();
  job.grad_columns = columns.data();
  job.tile = std::min(LARGEST_TILE, position_steps * 32);
  job.want_input = a.grad_input;
  job.want_slopes = a.grad_offset;
  job.want_mask = a.grad_mask;
  job.want_weight = a.grad_weight;
  for_units(
      num_segments * splits, false, [&] { return Space(job.tile, P); },
      [&](const Space& own, int64_t unit) {
        const int64_t i = unit / splits, split = unit % splits;
        const BackwardScratch scratch = {own.records.data(), own.slopes.data(), own.column_grads.data(),
                                         own.samples.data(), own.columns.data()};
        backward_segment(job, segments[i], scratch,
                         {s.taps() * split / splits,
                          s.taps() * (split + 1) / splits,
                          weight.data() + before[i] * weight_step,
                          grad_weight.data() + before[i] * sum_step,
                          slopes ? sums.data() + i * sums_size : nullptr,
                          {grad_input.data() + split * map_size, pixels + 1, slot_pitch}});
      });

  if (a.grad_weight) {
    const int64_t row_tiles = tiles16(outputs);
    for_slices(num_segments * row_tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t segment = i / row_tiles;
        unpack_grad_weight(s, segments[segment], grad_weight.data() + before[segment] * sum_step, i % row_tiles,
                           a.grad_weight);
      }
    });
  }
  if (slopes) gather_slopes(s, segments, sums.data(), a.grad_offset, a.grad_mask);
  if (a.grad_input) {
    const int64_t runs = (pixels + 15) / 16;
    for_slices(s.images * runs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (const Segment& segment : segments) {
          unpack_grad_input(s, segment, {grad_input.data(), pixels + 1, slot_pitch}, splits, map_size, i / runs,
                            i % runs * 16, channels_last, a.grad_input);
        }
      }
    });
  }
}

}  // namespace

template <class T>
bool amx_deform_conv_backward(const DeformConvArrays<T, float>& a, bool channels_last, bool grad_last) {
  if (!pays(a.shape, segments_of(a.shape, CHANNELS)) || !values_split(a)) return false;
  if (a.grad_bias) sum_bias(a, grad_last);
  if (a.grad_input || a.grad_offset || a.grad_mask || a.grad_weight) run_segments(a, channels_last, grad_last);
  return true;
}

template bool amx_deform_conv_backward(const DeformConvArrays<float, float>&, bool, bool);
template bool amx_deform_conv_backward(const DeformConvArrays<Bf16, float>&, bool, bool);

}  // namespace dcn::cpu
#endif
