// deform_conv2d forward on the matrix unit, on all threads: input to pixels
// once, weight to tiles, then tile by tile.
#if DCN_HAVE_AMX
#include "cpu/amx_engine.h"

namespace dcn::cpu {
namespace {

constexpr int64_t LARGEST_TILE = 256;      // positions
constexpr int64_t SUM_ELEMENTS = 1 << 17;  // of one tile's output: half of a second-level cache of 1 MiB
constexpr int64_t SEGMENT_BYTES = 512;     // of a position's samples
constexpr int64_t CACHE_BYTES = 1 << 20;   // of a second-level cache

using namespace amx;

int64_t tile_size(const DeformConvShape& s) {
  const int64_t outputs = s.groups * tiles16(s.out_channels_per_group()) * 16;
  return even_tile(s, std::clamp<int64_t>(SUM_ELEMENTS / outputs / 32 * 32, 32, LARGEST_TILE), 32);
}

struct Space : Worker {
  Buffer<SampleRecords<float>> records;
  Buffer<Bf16> columns;
  Buffer<float> sums;
  Space(int64_t tile, int64_t column_elements, int64_t sum_elements)
      : records(record_blocks(tile)), columns(column_elements), sums(sum_elements) {}
};

template <class T>
bool values_split(const DeformConvArrays<T, float>& a) {
  if constexpr (sizeof(T) == 4) {
    const DeformConvShape& s = a.shape;
    const uint32_t input = largest_of(a.input, s.images * s.channels * s.height * s.width);
    const uint32_t weight = largest_of(a.weight, s.out_channels * s.channels_per_group() * s.taps());
    const uint32_t mask = a.mask ? largest_of(a.mask, s.images * s.offset_groups * s.taps() * s.positions()) : 0;
    return splittable({input, weight, mask});
  }
  return true;
}

}  // namespace

template <class T>
bool amx_deform_conv_forward(const DeformConvArrays<T, float>& a, bool channels_last) {
  constexpr int64_t P = sizeof(T) == 4 ? 2 : 1;
  const DeformConvShape& s = a.shape;
  const std::vector<Segment> segments = segments_of(s, SEGMENT_BYTES / (2 * P));
  if (!pays(s, segments) || !values_split(a)) return false;
  const int64_t pixels = s.height * s.width, steps = steps_of(segments);
  const int64_t column_tiles = tiles16(s.out_channels_per_group());
  const Buffer<T> map = room_for_pixel_map<T>(s.images, s.channels, pixels);
  const Buffer<Bf16> weight(s.taps() * steps * column_tiles * P * TILE_ELEMENTS);
  const int64_t num_segments = static_cast<int64_t>(segments.size());
  const auto pack = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pack_forward_weight(s, a.weight, segments[i / column_tiles], steps, i % column_tiles, weight.data());
    }
  };
  for_slices_of(filling_pixel_map(map, a.input, channels_last, s.images, s.channels, pixels),
                Loop<decltype(pack)>{num_segments * column_tiles, pack});
  ForwardArguments<T> job = {};
  describe_call(job, a, map);
  job.weight = weight.data();
  job.bias = a.bias;
  job.output = a.output;
  job.channels_last = channels_last;
  job.tile = tile_size(s);
  job.segments = segments.data();
  job.num_segments = num_segments;
  job.steps = steps;
  int64_t widest = 0;
  for (const Segment& segment : segments) widest = std::max(widest, segment.steps);
  const int64_t tiles = (s.positions() + job.tile - 1) / job.tile;
  // A map beyond the caches gains nothing by shares: side by side, threads find more of the weight there.
  const int64_t map_bytes = s.images * (pixels + 1) * padded_pitch<T>(s.channels) * static_cast<int64_t>(sizeof(T));
  for_units(
      s.images * tiles, map_bytes <= num_threads() * CACHE_BYTES,
      [&] {
        return Space(job.tile, job.tile / 16 * widest * P * TILE_ELEMENTS, job.tile * s.groups * column_tiles * 16);
      },
      [&](const Space& own, int64_t unit) {
        forward_tile(job, {own.records.data(), own.columns.data(), own.sums.data()}, unit / tiles,
                     unit % tiles * job.tile);
      });
  return true;
}

template bool amx_deform_conv_forward(const DeformConvArrays<float, float>&, bool);
template bool amx_deform_conv_forward(const DeformConvArrays<Bf16, float>&, bool);

}  // namespace dcn::cpu
#endif
