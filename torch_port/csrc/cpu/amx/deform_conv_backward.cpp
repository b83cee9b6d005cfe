// deform_conv2d backward, one segment of channels: gradient of its samples, one
// pass over the corners, gradient of its weights.
#include "cpu/amx/tiles.h"
#include "cpu/simd/locate.h"

namespace dcn::cpu::amx {
namespace {

constexpr int64_t AHEAD = 2;  // samples

template <class T>
struct Position {
  const T* corner[4];
  float* target[4];
  __m512 weight[4];   // times the mask
  const float* grad;  // of the masked sample: one row in a results tile
  float* sample;
};

// One pass over the channels: loads the corners once, writes the sample, sums
// grad * corner, adds to the corners.
template <bool COLUMN, bool SLOPES, bool INPUT, class T>
DCN_INLINE void pass(const Position<T>& p, int64_t steps, ChannelMask last, __m512 (&sums)[4]) {
  for (int64_t step = 0; step < steps; ++step) {
    const ChannelMask mask = step + 1 < steps ? ChannelMask{~0u} : last;
    __m512 value[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, grad[2];
    if constexpr (SLOPES || INPUT) {
      grad[0] = _mm512_load_ps(p.grad + step * 2 * RESULT_ELEMENTS);
      grad[1] = _mm512_load_ps(p.grad + (step * 2 + 1) * RESULT_ELEMENTS);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      TwoRegisters v;
      if constexpr (COLUMN || SLOPES) v = load_channels(p.corner[k] + step * 32, mask);
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        if constexpr (COLUMN) value[j] = _mm512_fmadd_ps(p.weight[k], v.v[j], value[j]);
        if constexpr (SLOPES) sums[k] = _mm512_fmadd_ps(grad[j], v.v[j], sums[k]);
        if constexpr (INPUT) {
          float* target = p.target[k] + step * 32 + j * 16;
          _mm512_store_ps(target, _mm512_fmadd_ps(p.weight[k], grad[j], _mm512_load_ps(target)));
        }
      }
    }
    if constexpr (COLUMN) {
      _mm512_store_ps(p.sample + step * 32, value[0]);
      _mm512_store_ps(p.sample + step * 32 + 16, value[1]);
    }
  }
}

// Lane by lane what the gradients of y, x and mask add up from: linear in the sums, so taken before the lanes are
// added.
DCN_INLINE void slopes_by_lane(const __m512 (&v)[4], const SampleRecord<float>& r, const SampleSlopes<float>& at,
                               bool want_mask, float* lanes) {
  const __m512 mask = _mm512_set1_ps(at.mask);
  const __m512 right = _mm512_mul_ps(_mm512_set1_ps(at.x), mask), left = _mm512_sub_ps(mask, right);
  const __m512 lower = _mm512_mul_ps(_mm512_set1_ps(at.y), mask), upper = _mm512_sub_ps(mask, lower);
  const __m512 y = _mm512_mul_ps(_mm512_sub_ps(v[2], v[0]), left), x = _mm512_mul_ps(_mm512_sub_ps(v[1], v[0]), upper);
  _mm512_store_ps(lanes, _mm512_fmadd_ps(_mm512_sub_ps(v[3], v[1]), right, y));
  _mm512_store_ps(lanes + 256, _mm512_fmadd_ps(_mm512_sub_ps(v[3], v[2]), lower, x));
  if (!want_mask) return;
  __m512 value = _mm512_mul_ps(_mm512_set1_ps(r.weight[0]), v[0]);
#pragma GCC unroll 4
  for (int k = 1; k < 4; ++k) value = _mm512_fmadd_ps(_mm512_set1_ps(r.weight[k]), v[k], value);
  _mm512_store_ps(lanes + 512, value);
}

// Adds up the lanes of 16 positions: [16][16] -> 16 sums.
DCN_INLINE __m512 added_up(const float* lanes) {
  __m512i rows[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i] = _mm512_load_si512(lanes + i * 16);
  transpose(rows);
  __m512 sum[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    sum[i] = _mm512_add_ps(_mm512_add_ps(_mm512_castsi512_ps(rows[i]), _mm512_castsi512_ps(rows[i + 4])),
                           _mm512_add_ps(_mm512_castsi512_ps(rows[i + 8]), _mm512_castsi512_ps(rows[i + 12])));
  }
  return _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
}

// 32 rows of samples -> one step of a right matrix: rows t and t + 16 in pairs.
template <int P>
DCN_INLINE void store_columns(const float* samples, int64_t panels, int64_t panel_elements, Bf16* columns) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t i = 0; i < 16; ++i) {
      for (int64_t j = 0; j < 2; ++j) {
        const float* source = samples + i * panels * 32 + panel * 32 + j * 16;
        store_pairs<P>(columns + panel * panel_elements + j * TILE_ELEMENTS + i * 32, 2 * TILE_ELEMENTS,
                       _mm512_load_ps(source), _mm512_load_ps(source + 16 * panels * 32));
      }
    }
  }
}

template <class T>
struct TileOfPass {
  const Segment& segment;
  const BackwardScratch& space;
  const T* map;  // the segment's channels of the image
  int64_t pitch;
  float* grad_map;
  int64_t grad_pitch, count;
  float* sums;
  int64_t positions;
  bool want_mask;
};

// STEPS: the segment's, for loops without a counter; 0: any number.
template <int64_t STEPS, bool COLUMN, bool SLOPES, bool INPUT, class T>
DCN_INLINE void pass_steps(const TileOfPass<T>& tile) {
  constexpr int P = PARTS<T>;
  const Segment& segment = tile.segment;
  const int64_t segment_steps = STEPS > 0 ? STEPS : segment.steps;
  const BackwardScratch& space = tile.space;
  const int64_t width = segment_steps * 32, steps = steps32(tile.count);
  const ChannelMask last = channel_mask(segment.channels - (segment_steps - 1) * 32);
  alignas(64) float by_lane[3 * 256];  // [y, x, mask][16 positions][16 lanes]
  for (int64_t t = 0; t < steps * 32; ++t) {
    float* sample = space.samples + t % 32 * width;
    const bool inside = t < tile.count && SlopeRecords<float>::get(space.slopes, t).inside;
    if (t + AHEAD < tile.count) {
      for (int k = 0; k < 4; ++k) {
        const int64_t at = SampleRecords<float>::pixel(space.records, t + AHEAD, k);
        const char* corner = reinterpret_cast<const char*>(tile.map + at * tile.pitch);
        for (int64_t line = 0; line < width * int64_t(sizeof(T)); line += 64) {
          _mm_prefetch(corner + line, _MM_HINT_T0);
        }
        if constexpr (INPUT) {
          for (int64_t c = 0; c < width; c += 16) {
            _mm_prefetch(reinterpret_cast<const char*>(tile.grad_map + at * tile.grad_pitch + c), _MM_HINT_T0);
          }
        }
      }
    }
    if (!inside) {  // adds nothing, whatever comes from above
      for (int64_t c = 0; COLUMN && c < width; c += 16) _mm512_store_ps(sample + c, _mm512_setzero_ps());
      for (int k = 0; SLOPES && k < 3; ++k) _mm512_store_ps(by_lane + k * 256 + t % 16 * 16, _mm512_setzero_ps());
    } else {
      const SampleRecord<float> r = SampleRecords<float>::get(space.records, t);
      const SampleSlopes<float> at = SlopeRecords<float>::get(space.slopes, t);
      Position<T> p;
      p.grad = space.column_grads + t / 16 * segment_steps * 2 * RESULT_ELEMENTS + t % 16 * 16;
      p.sample = sample;
      __m512 sums[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        p.corner[k] = tile.map + r.at[k] * tile.pitch;
        p.target[k] = INPUT ? tile.grad_map + r.at[k] * tile.grad_pitch : nullptr;
        p.weight[k] = _mm512_set1_ps(r.weight[k] * at.mask);
        sums[k] = _mm512_setzero_ps();
      }
      pass<COLUMN, SLOPES, INPUT>(p, segment_steps, last, sums);
      if constexpr (SLOPES) slopes_by_lane(sums, r, at, tile.want_mask, by_lane + t % 16 * 16);
    }
    if (SLOPES && t % 16 == 15) {
      for (int64_t k = 0; k < (tile.want_mask ? 3 : 2); ++k) {
        store16(tile.sums + k * tile.positions + t - 15, tile.count - (t - 15), added_up(by_lane + k * 256));
      }
    }
    if (COLUMN && t % 32 == 31) {
      store_columns<P>(space.samples, segment_steps, steps * P * 2 * TILE_ELEMENTS,
                       space.columns + t / 32 * P * 2 * TILE_ELEMENTS);
    }
  }
}

template <bool COLUMN, bool SLOPES, bool INPUT, class T>
void pass_tile(const TileOfPass<T>& tile) {
  if constexpr (COLUMN && SLOPES && INPUT) {
    if (tile.segment.steps == 2) return pass_steps<2, COLUMN, SLOPES, INPUT>(tile);
    if (tile.segment.steps == 4) return pass_steps<4, COLUMN, SLOPES, INPUT>(tile);
  }
  pass_steps<0, COLUMN, SLOPES, INPUT>(tile);
}

template <class T>
using Pass = void (*)(const TileOfPass<T>&);

template <class T>
Pass<T> chosen_pass(bool column, bool slopes, bool input) {
  if (column) {
    if (slopes) return input ? pass_tile<true, true, true, T> : pass_tile<true, true, false, T>;
    return input ? pass_tile<true, false, true, T> : pass_tile<true, false, false, T>;
  }
  if (slopes) return input ? pass_tile<false, true, true, T> : pass_tile<false, true, false, T>;
  return pass_tile<false, false, true, T>;
}

// One tap of one tile of positions of one image.
template <class T>
void backward_tile(const BackwardArguments<T>& job, const Segment& segment, const BackwardScratch& space,
                   const BackwardOwn& own, Pass<T> run, int64_t tap, int64_t image, int64_t first) {
  constexpr int P = PARTS<T>;
  const DeformConvShape& s = job.shape;
  const int64_t positions = s.positions(), outputs = s.out_channels_per_group(), column_tiles = segment.steps * 2;
  const int64_t output_steps = steps32(outputs), row_stride = output_steps * P * TILE_ELEMENTS;
  const int64_t column_stride = steps32(positions) * P * TILE_ELEMENTS;
  const int64_t plane = image * s.groups + segment.weight_group;
  const int64_t count = positions - first < job.tile ? positions - first : job.tile;
  const bool need_slopes = job.want_slopes || job.want_mask;
  locate(job.border, s, job.offset, job.mask, image, segment.offset_group, tap, first, count, false, space.records,
         space.slopes);
  if (need_slopes || job.want_input) {
    const Bf16* rows = job.grad_rows + (plane * steps32(positions) * 2 + first / 16) * row_stride;
    multiply<P>(tiles16(count), column_tiles, output_steps, rows, row_stride,
                own.weight + tap * output_steps * column_tiles * P * TILE_ELEMENTS, space.column_grads,
                column_tiles * RESULT_ELEMENTS, true);
  }
  float* sums = need_slopes ? own.sums + (image * s.taps() + tap) * 3 * positions + first : nullptr;
  float* grad_map = job.want_input
                        ? own.grad_input.data + image * own.grad_input.pixels * own.grad_input.pitch + segment.begin
                        : nullptr;
  run({segment, space, job.input.data + image * job.input.pixels * job.input.pitch + segment.channel, job.input.pitch,
       grad_map, own.grad_input.pitch, count, sums, positions, job.want_mask});
  if (job.want_weight) {
    const Bf16* columns = job.grad_columns + plane * output_steps * 2 * column_stride + first / 32 * P * TILE_ELEMENTS;
    multiply<P>(tiles16(outputs), column_tiles, steps32(count), columns, column_stride, space.columns,
                own.grad_weight + tap * tiles16(outputs) * column_tiles * RESULT_ELEMENTS,
                column_tiles * RESULT_ELEMENTS, image == 0 && first == 0);
  }
}

}  // namespace

template <class T>
void backward_segment(const BackwardArguments<T>& job, const Segment& segment, const BackwardScratch& space,
                      const BackwardOwn& own) {
  const Pass<T> run = chosen_pass<T>(job.want_weight, job.want_slopes || job.want_mask, job.want_input);
  for (int64_t tap = own.first_tap; tap < own.last_tap; ++tap) {
    for (int64_t image = 0; image < job.shape.images; ++image) {
      for (int64_t first = 0; first < job.shape.positions(); first += job.tile) {
        backward_tile(job, segment, space, own, run, tap, image, first);
      }
    }
  }
}

template void backward_segment(const BackwardArguments<float>&, const Segment&, const BackwardScratch&,
                               const BackwardOwn&);
template void backward_segment(const BackwardArguments<Bf16>&, const Segment&, const BackwardScratch&,
                               const BackwardOwn&);

}  // namespace dcn::cpu::amx
