// deform_conv2d forward, one tile of output positions: sample a segment of
// channels straight into a left matrix, multiply it while it is in cache.
#include "cpu/amx/tiles.h"
#include "cpu/simd/locate.h"

namespace dcn::cpu::amx {
namespace {

constexpr int64_t AHEAD = 2;  // samples

template <class T>
DCN_INLINE void prefetch_pixel(const T* pixel, int64_t channels) {
  for (int64_t c = 0; c < channels; c += int64_t(64 / sizeof(T))) {
    _mm_prefetch(reinterpret_cast<const char*>(pixel + c), _MM_HINT_T0);
  }
}

// `count` samples of 32 * steps channels -> left matrix.
template <class T>
void sample(const T* map, int64_t pitch, const SampleRecords<float>* records, int64_t count, const Segment& segment,
            Bf16* columns) {
  constexpr int P = PARTS<T>;
  const ChannelMask last = channel_mask(segment.channels - (segment.steps - 1) * 32);
  for (int64_t t = 0; t < count; ++t) {
    const SampleRecord<float> r = SampleRecords<float>::get(records, t);
    const T* const corner[4] = {map + r.at[0] * pitch, map + r.at[1] * pitch, map + r.at[2] * pitch,
                                map + r.at[3] * pitch};
    if (t + AHEAD < count) {
      for (int k = 0; k < 4; ++k) {
        prefetch_pixel(map + SampleRecords<float>::pixel(records, t + AHEAD, k) * pitch, segment.channels);
      }
    }
    const __m512 w[4] = {_mm512_set1_ps(r.weight[0]), _mm512_set1_ps(r.weight[1]), _mm512_set1_ps(r.weight[2]),
                         _mm512_set1_ps(r.weight[3])};
    Bf16* row = columns + t / 16 * segment.steps * P * TILE_ELEMENTS + t % 16 * 32;
    for (int64_t step = 0; step < segment.steps; ++step) {
      const ChannelMask mask = step + 1 < segment.steps ? ChannelMask{~0u} : last;
      const TwoRegisters v00 = load_channels(corner[0] + step * 32, mask);
      const TwoRegisters v01 = load_channels(corner[1] + step * 32, mask);
      const TwoRegisters v10 = load_channels(corner[2] + step * 32, mask);
      const TwoRegisters v11 = load_channels(corner[3] + step * 32, mask);
      __m512 value[2];
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        value[j] = _mm512_mul_ps(w[0], v00.v[j]);
        value[j] = _mm512_fmadd_ps(w[1], v01.v[j], value[j]);
        value[j] = _mm512_fmadd_ps(w[2], v10.v[j], value[j]);
        value[j] = _mm512_fmadd_ps(w[3], v11.v[j], value[j]);
      }
      store_pairs<P>(row, TILE_ELEMENTS, value[0], value[1]);
      row += P * TILE_ELEMENTS;
    }
  }
}

// Rows [from, to) of a left matrix become 0: rows beyond the last position may
// hold anything, NaN included.
void clear_rows(Bf16* columns, int64_t from, int64_t to, int64_t tiles_per_row) {
  for (int64_t t = from; t < to; ++t) {
    for (int64_t i = 0; i < tiles_per_row; ++i) {
      _mm512_store_si512(columns + (t / 16 * tiles_per_row + i) * TILE_ELEMENTS + t % 16 * 32, _mm512_setzero_si512());
    }
  }
}

// Results of all groups + bias -> output.
template <class T>
void write_results(const ForwardArguments<T>& job, const float* sums, int64_t image, int64_t first, int64_t count) {
  const DeformConvShape& s = job.shape;
  const int64_t outputs = s.out_channels_per_group(), positions = s.positions(), column_tiles = tiles16(outputs);
  for (int64_t group = 0; group < s.groups; ++group) {
    const float* results = sums + group * tiles16(count) * column_tiles * RESULT_ELEMENTS;
    for (int64_t column = 0; column < column_tiles; ++column) {
      const int64_t o = group * outputs + column * 16, there = outputs - column * 16 < 16 ? outputs - column * 16 : 16;
      const __m512 bias = job.bias ? load16(job.bias + o, there) : _mm512_setzero_ps();
      for (int64_t t = 0; t < count; t += 16) {
        const float* tile = results + (t / 16 * column_tiles + column) * RESULT_ELEMENTS;
        const int64_t rows = count - t < 16 ? count - t : 16;
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(_mm512_add_ps(_mm512_load_ps(tile + i * 16), bias));
        if (job.channels_last) {
          T* target = job.output + (image * positions + first + t) * s.out_channels + o;
          for (int64_t i = 0; i < rows; ++i) store16(target + i * s.out_channels, there, _mm512_castsi512_ps(r[i]));
        } else {
          transpose(r);
          T* target = job.output + (image * s.out_channels + o) * positions + first + t;
          for (int64_t i = 0; i < there; ++i) store16(target + i * positions, rows, _mm512_castsi512_ps(r[i]));
        }
      }
    }
  }
}

}  // namespace

template <class T>
void forward_tile(const ForwardArguments<T>& job, const ForwardScratch& space, int64_t image, int64_t first) {
  constexpr int P = PARTS<T>;
  const DeformConvShape& s = job.shape;
  const int64_t count = s.positions() - first < job.tile ? s.positions() - first : job.tile, row_tiles = tiles16(count);
  const int64_t column_tiles = tiles16(s.out_channels_per_group());
  const T* map = job.input.data + image * job.input.pixels * job.input.pitch;
  for (int64_t tap = 0; tap < s.taps(); ++tap) {
    int64_t located = -1, started = -1;
    for (int64_t i = 0; i < job.num_segments; ++i) {
      const Segment& segment = job.segments[i];
      if (segment.offset_group != located) {
        located = segment.offset_group;
        locate(job.border, s, job.offset, job.mask, image, located, tap, first, count, true, space.records,
               static_cast<SlopeRecords<float>*>(nullptr));
      }
      sample(map + segment.channel, job.input.pitch, space.records, count, segment, space.columns);
      clear_rows(space.columns, count, row_tiles * 16, segment.steps * P);
      const bool start = tap == 0 && segment.weight_group != started;
      started = segment.weight_group;
      multiply<P>(row_tiles, column_tiles, segment.steps, space.columns, segment.steps * P * TILE_ELEMENTS,
                  job.weight + (tap * job.steps + segment.begin) * column_tiles * P * TILE_ELEMENTS,
                  space.sums + segment.weight_group * row_tiles * column_tiles * RESULT_ELEMENTS,
                  column_tiles * RESULT_ELEMENTS, start);
    }
  }
  write_results(job, space.sums, image, first, count);
}

template void forward_tile(const ForwardArguments<float>&, const ForwardScratch&, int64_t, int64_t);
template void forward_tile(const ForwardArguments<Bf16>&, const ForwardScratch&, int64_t, int64_t);

}  // namespace dcn::cpu::amx
