// Weights and gradients into the matrix unit's tiles, and results out of them.
#include "cpu/amx/tiles.h"

namespace dcn::cpu::amx {
namespace {

// `count` elements that lie `stride` apart, the others 0. `start`: of the array that p points into, which goes on after
// them: bfloat16 is read four bytes at a time, and only the first one has nothing before it.
DCN_INLINE __m512i lane_times(int64_t stride) {
  return _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                            _mm512_set1_epi32(static_cast<int>(stride)));
}
DCN_INLINE __m512 gather16(const float* p, int64_t stride, int64_t count, const float*) {
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes(count), lane_times(stride), p, 4);
}
DCN_INLINE __m512 gather16(const Bf16* p, int64_t stride, int64_t count, const Bf16* start) {
  const bool first = p == start;
  const __m512i both =
      _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), lanes(count), lane_times(stride), first ? p : p - 1, 2);
  return _mm512_castsi512_ps(first ? _mm512_slli_epi32(both, 16) : upper(both));
}

// Writes the lanes that there are `stride` apart.
DCN_INLINE void scatter16(__m512 v, float* p, int64_t stride, int64_t count) {
  _mm512_mask_i32scatter_ps(p, lanes(count), lane_times(stride), v, 4);
}
DCN_INLINE void scatter16(__m512 v, Bf16* p, int64_t stride, int64_t count) {
  alignas(32) Bf16 values[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(values), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
  for (int64_t i = 0; i < 16 && i < count; ++i) p[i * stride] = values[i];
}

// Lane i: the channel that lane i of register j of TwoRegisters holds; p points
// to a block of 32 channels, of which there are `count`.
template <class T>
DCN_INLINE __m512 gather_channels(const T* p, int64_t stride, int64_t count, int64_t j, const T* start) {
  if constexpr (sizeof(T) == 4) {
    return gather16(p + 16 * j * stride, stride, count - 16 * j, start);
  } else {
    return gather16(p + j * stride, 2 * stride, (count - j + 1) / 2, start);
  }
}

template <class T>
DCN_INLINE void scatter_channels(__m512 v, T* p, int64_t stride, int64_t count, int64_t j) {
  if constexpr (sizeof(T) == 4) {
    scatter16(v, p + 16 * j * stride, stride, count - 16 * j);
  } else {
    scatter16(v, p + j * stride, 2 * stride, (count - j + 1) / 2);
  }
}

// Rows [32][2 registers] of float to their transpose: rows of 32.
DCN_INLINE void transpose32(const float* from, float* to) {
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      __m512i rows[16];
#pragma GCC unroll 16
      for (int64_t r = 0; r < 16; ++r) rows[r] = _mm512_load_si512(from + (16 * i + r) * 32 + 16 * j);
      transpose(rows);
#pragma GCC unroll 16
      for (int64_t r = 0; r < 16; ++r) _mm512_store_si512(to + (16 * j + r) * 32 + 16 * i, rows[r]);
    }
  }
}

// One tile row per row of `block` (32 x 32 floats): 2 row tiles, `stride`
// elements apart.
template <int P>
DCN_INLINE void store_left(const float* block, int64_t row_tiles, Bf16* left, int64_t stride) {
  for (int64_t r = 0; r < row_tiles * 16; ++r) {
    Bf16* row = left + r / 16 * stride + r % 16 * 32;
    store_pairs<P>(row, TILE_ELEMENTS, _mm512_load_ps(block + r * 32), _mm512_load_ps(block + r * 32 + 16));
  }
}

}  // namespace

template <class T>
void pack_forward_weight(const DeformConvShape& s, const T* weight, const Segment& segment, int64_t steps,
                         int64_t column_tile, Bf16* packed) {
  constexpr int P = PARTS<T>;
  const int64_t outputs = s.out_channels_per_group(), depth = s.channels_per_group(), taps = s.taps();
  const int64_t column_tiles = tiles16(outputs), panel = column_tile / 2, first = column_tile * 16;
  const int64_t in_panel = column_tiles - panel * 2 < 2 ? 1 : 2;
  const T* base = weight + (segment.weight_group * outputs + first) * depth * taps +
                  (segment.channel - segment.weight_group * depth) * taps;
  for (int64_t tap = 0; tap < taps; ++tap) {
    Bf16* matrix = packed + (tap * steps + segment.begin) * column_tiles * P * TILE_ELEMENTS +
                   panel * 2 * segment.steps * P * TILE_ELEMENTS;
    for (int64_t step = 0; step < segment.steps; ++step) {
      alignas(64) Bf16 rows[P * TILE_ELEMENTS];
      const int64_t count = segment.channels - step * 32;
      for (int64_t o = 0; o < 16; ++o) {
        const bool there = first + o < outputs;
        const T* source = base + (there ? o : 0) * depth * taps + step * 32 * taps + tap;
        store_pairs<P>(rows + o * 32, TILE_ELEMENTS, gather_channels(source, taps, there ? count : 0, 0, weight),
                       gather_channels(source, taps, there ? count : 0, 1, weight));
      }
      for (int part = 0; part < P; ++part) {  // a row per output -> a row per pair of channels
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(rows + part * TILE_ELEMENTS + i * 32);
        transpose(r);
        Bf16* tile = matrix + ((step * P + part) * in_panel + column_tile % 2) * TILE_ELEMENTS;
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + i * 32, r[i]);
      }
    }
  }
}

template <class T>
void pack_backward_weight(const DeformConvShape& s, const T* weight, const Segment& segment, int64_t tap,
                          Bf16* packed) {
  constexpr int P = PARTS<T>;
  const int64_t outputs = s.out_channels_per_group(), depth = s.channels_per_group(), taps = s.taps();
  const T* base = weight + segment.weight_group * outputs * depth * taps +
                  (segment.channel - segment.weight_group * depth) * taps + tap;
  const int64_t steps = steps32(outputs);
  for (int64_t panel = 0; panel < segment.steps; ++panel) {  // of 32 channels
    const int64_t count = segment.channels - panel * 32;
    for (int64_t step = 0; step < steps; ++step) {
      Bf16* tiles = packed + (panel * steps + step) * P * 2 * TILE_ELEMENTS;
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t o0 = step * 32 + i, o1 = o0 + 16;
        const T* source = base + panel * 32 * taps;
        for (int64_t j = 0; j < 2; ++j) {
          const __m512 v0 = gather_channels(source + (o0 < outputs ? o0 : 0) * depth * taps, taps,
                                            o0 < outputs ? count : 0, j, weight);
          const __m512 v1 = gather_channels(source + (o1 < outputs ? o1 : 0) * depth * taps, taps,
                                            o1 < outputs ? count : 0, j, weight);
          store_pairs<P>(tiles + j * TILE_ELEMENTS + i * 32, 2 * TILE_ELEMENTS, v0, v1);
        }
      }
    }
  }
}

template <class T>
void pack_grad(const DeformConvShape& s, const T* grad, bool channels_last, int64_t image, int64_t group, int64_t first,
               Bf16* rows, Bf16* columns) {
  constexpr int P = PARTS<T>;
  const int64_t outputs = s.out_channels_per_group(), positions = s.positions(), count = positions - first;
  const int64_t output_steps = steps32(outputs), position_steps = steps32(positions);
  const int64_t row_stride = output_steps * P * TILE_ELEMENTS, column_stride = position_steps * P * TILE_ELEMENTS;
  for (int64_t step = 0; step < output_steps; ++step) {
    const int64_t left = outputs - step * 32;
    alignas(64) float by_output[1024], by_position[1024];
    float* const read = channels_last ? by_position : by_output;
    for (int64_t r = 0; r < 32; ++r) {
      const bool there = r < (channels_last ? count : left);
      const int64_t length = !there ? 0 : channels_last ? left : count, at = there ? r : 0;
      const T* source = channels_last
                            ? grad + (image * positions + first + at) * s.out_channels + group * outputs + step * 32
                            : grad + (image * s.out_channels + group * outputs + step * 32 + at) * positions + first;
      _mm512_store_ps(read + r * 32, load16(source, length));
      _mm512_store_ps(read + r * 32 + 16, load16(source + 16, length - 16));
    }
    transpose32(read, channels_last ? by_output : by_position);
    store_left<P>(by_position, 2, rows + first / 16 * row_stride + step * P * TILE_ELEMENTS, row_stride);
    store_left<P>(by_output, left > 16 ? 2 : 1, columns + step * 2 * column_stride + first / 32 * P * TILE_ELEMENTS,
                  column_stride);
  }
}

template <class T>
void unpack_grad_weight(const DeformConvShape& s, const Segment& segment, const float* sums, int64_t row_tile,
                        T* grad_weight) {
  const int64_t outputs = s.out_channels_per_group(), depth = s.channels_per_group(), taps = s.taps();
  const int64_t row_tiles = tiles16(outputs), column_tiles = segment.steps * 2;
  for (int64_t o = row_tile * 16; o < outputs && o < row_tile * 16 + 16; ++o) {
    T* target = grad_weight +
                ((segment.weight_group * outputs + o) * depth + segment.channel - segment.weight_group * depth) * taps;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const float* tiles = sums + (tap * row_tiles + row_tile) * column_tiles * RESULT_ELEMENTS + o % 16 * 16;
      for (int64_t column = 0; column < column_tiles; ++column) {
        const int64_t block = column / 2 * 32;
        scatter_channels(_mm512_load_ps(tiles + column * RESULT_ELEMENTS), target + block * taps + tap, taps,
                         segment.channels - block, column % 2);
      }
    }
  }
}

template <class T>
void unpack_grad_input(const DeformConvShape& s, const Segment& segment, PixelMap<const float> map, int64_t copies,
                       int64_t copy_size, int64_t image, int64_t first, bool channels_last, T* grad_input) {
  const int64_t pixels = s.height * s.width, count = pixels - first < 16 ? pixels - first : 16;
  for (int64_t step = 0; step < segment.steps; ++step) {
    const float* source = map.data + (image * map.pixels + first) * map.pitch + segment.begin + step * 32;
    const int64_t channels = segment.channels - step * 32;
    const auto sum_of = [&](int64_t p, int64_t j) {
      __m512 sum = _mm512_load_ps(source + p * map.pitch + 16 * j);
      for (int64_t copy = 1; copy < copies; ++copy) {
        sum = _mm512_add_ps(sum, _mm512_load_ps(source + copy * copy_size + p * map.pitch + 16 * j));
      }
      return sum;
    };
    for (int64_t p = 0; channels_last && p < count; ++p) {
      store_channels(grad_input + (image * pixels + first + p) * s.channels + segment.channel + step * 32,
                     channel_mask(channels), {{sum_of(p, 0), sum_of(p, 1)}});
    }
    for (int64_t j = 0; !channels_last && j < 2; ++j) {
      __m512i rows[16];  // pixels
      for (int64_t p = 0; p < 16; ++p) {
        rows[p] = _mm512_castps_si512(p < count ? sum_of(p, j) : _mm512_setzero_ps());
      }
      transpose(rows);
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t channel = channel_of<T>(j, i);
        if (channel >= channels) break;
        store16(grad_input + (image * s.channels + segment.channel + step * 32 + channel) * pixels + first, count,
                _mm512_castsi512_ps(rows[i]));
      }
    }
  }
}

void grow_largest(const float* values, int64_t count, uint32_t* largest) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i a = _mm512_setzero_si512(), b = a;
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    a = _mm512_max_epu32(a, _mm512_and_si512(_mm512_loadu_si512(values + i), magnitude));
    b = _mm512_max_epu32(b, _mm512_and_si512(_mm512_loadu_si512(values + i + 16), magnitude));
  }
  for (; i < count; i += 16) {
    a = _mm512_max_epu32(a, _mm512_and_si512(_mm512_maskz_loadu_epi32(lanes(count - i), values + i), magnitude));
  }
  const uint32_t found = _mm512_reduce_max_epu32(_mm512_max_epu32(a, b));
  if (found > *largest) *largest = found;
}

void begin_tiles() { _tile_loadconfig(&TILE_CONFIGURATION); }

void end_tiles() { _tile_release(); }

#define DCN_DEFINE(T)                                                                                              \
  template void pack_forward_weight(const DeformConvShape&, const T*, const Segment&, int64_t, int64_t, Bf16*);    \
  template void pack_backward_weight(const DeformConvShape&, const T*, const Segment&, int64_t, Bf16*);            \
  template void pack_grad(const DeformConvShape&, const T*, bool, int64_t, int64_t, int64_t, Bf16*, Bf16*);        \
  template void unpack_grad_weight(const DeformConvShape&, const Segment&, const float*, int64_t, T*);             \
  template void unpack_grad_input(const DeformConvShape&, const Segment&, PixelMap<const float>, int64_t, int64_t, \
                                  int64_t, int64_t, bool, T*);
DCN_DEFINE(float)
DCN_DEFINE(Bf16)

}  // namespace dcn::cpu::amx
