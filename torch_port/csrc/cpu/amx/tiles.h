// Matrices in tiles of 16 rows of 64 bytes, as the matrix unit loads them, and
// their product.
//
// Two kinds of operand data: float, each number split into a high and a low
// bfloat16 (PARTS = 2), and bfloat16 itself. Left matrices:  [row tile][step of
// 32][part], a row of 32 bfloat16 per tile row. Right matrices: [panel of two
// column tiles][step][part][column tile]; tile row r holds elements (2r, 2r+1)
// of the step
//                 for 16 columns. The last panel may have one column tile.
// Results:        [row tile][column tile] of 16x16 float.
#pragma once

#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12's own undefined registers
#pragma GCC diagnostic ignored "-Wuninitialized"

#include <cstdint>

#include "cpu/deform_conv_amx.h"
#include "cpu/simd/transpose16.h"

namespace dcn::cpu::amx {

template <class T>
constexpr int PARTS = sizeof(T) == 4 ? 2 : 1;

constexpr int64_t RESULT_ELEMENTS = 256;  // floats in a tile of results

// All eight tile registers as 16 rows of 64 bytes. A constant: g++ 12 tells its
// optimiser of 8 of the 64 bytes only.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static constexpr TileConfiguration TILE_CONFIGURATION;

#define DCN_PRODUCTS(M, N)            \
  _tile_dpbf16ps(0, 6, 4);            \
  if (N > 1) _tile_dpbf16ps(1, 6, 5); \
  if (M > 1) _tile_dpbf16ps(2, 7, 4); \
  if (M > 1 && N > 1) _tile_dpbf16ps(3, 7, 5)

DCN_INLINE void load_left(int64_t rows, const Bf16* a, int64_t stride) {
  _tile_loadd(6, a, 64);
  if (rows > 1) _tile_loadd(7, a + stride, 64);
}

DCN_INLINE void load_right(int64_t columns, const Bf16* b) {
  _tile_loadd(4, b, 64);
  if (columns > 1) _tile_loadd(5, b + TILE_ELEMENTS, 64);
}

// M x N tiles of results; a_stride in elements, c_stride in floats.
template <int P, int M, int N>
DCN_INLINE void multiply_block(int64_t steps, const Bf16* a, int64_t a_stride, const Bf16* b, float* c,
                               int64_t c_stride, bool start) {
  if (start) {
    _tile_zero(0);
    if (N > 1) _tile_zero(1);
    if (M > 1) _tile_zero(2);
    if (M > 1 && N > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, c, 64);
    if (N > 1) _tile_loadd(1, c + RESULT_ELEMENTS, 64);
    if (M > 1) _tile_loadd(2, c + c_stride, 64);
    if (M > 1 && N > 1) _tile_loadd(3, c + c_stride + RESULT_ELEMENTS, 64);
  }
  for (int64_t step = 0; step < steps; ++step) {
    if constexpr (P == 1) {
      load_right(N, b);
      load_left(M, a, a_stride);
      DCN_PRODUCTS(M, N);
    } else {  // small products first: low * high, high * high, high * low
      load_right(N, b);
      load_left(M, a + TILE_ELEMENTS, a_stride);
      DCN_PRODUCTS(M, N);
      load_left(M, a, a_stride);
      DCN_PRODUCTS(M, N);
      load_right(N, b + N * TILE_ELEMENTS);
      DCN_PRODUCTS(M, N);
    }
    a += P * TILE_ELEMENTS;
    b += P * N * TILE_ELEMENTS;
  }
  _tile_stored(0, c, 64);
  if (N > 1) _tile_stored(1, c + RESULT_ELEMENTS, 64);
  if (M > 1) _tile_stored(2, c + c_stride, 64);
  if (M > 1 && N > 1) _tile_stored(3, c + c_stride + RESULT_ELEMENTS, 64);
}

// Row tiles (two, or one at the end) of one panel, steps [begin, begin + steps) of its depth.
template <int P>
DCN_INLINE void multiply_rows(int64_t rows, int64_t columns, int64_t steps, const Bf16* a, int64_t a_stride,
                              const Bf16* b, float* c, int64_t c_stride, bool start) {
  if (rows > 1 && columns > 1) return multiply_block<P, 2, 2>(steps, a, a_stride, b, c, c_stride, start);
  if (rows > 1) return multiply_block<P, 2, 1>(steps, a, a_stride, b, c, c_stride, start);
  if (columns > 1) return multiply_block<P, 1, 2>(steps, a, a_stride, b, c, c_stride, start);
  multiply_block<P, 1, 1>(steps, a, a_stride, b, c, c_stride, start);
}

DCN_INLINE void prefetch_part(const Bf16* data, int64_t lines, int64_t part, int64_t parts) {
  for (int64_t line = lines * part / parts; line < lines * (part + 1) / parts; ++line) {
    _mm_prefetch(reinterpret_cast<const char*>(data) + line * 64, _MM_HINT_T1);
  }
}

// c (+)= a * b. start: c is written, not added to. Two panels of a part of the depth stay in the first-level cache for
// all rows; meanwhile the next two move nearer bit by bit.
template <int P>
static void multiply(int64_t row_tiles, int64_t column_tiles, int64_t steps, const Bf16* a, int64_t a_stride,
                     const Bf16* b, float* c, int64_t c_stride, bool start) {
  constexpr int64_t DEPTH = 8 / P, PANELS = 2;
  const int64_t panel = steps * P * 2 * TILE_ELEMENTS, panels = (column_tiles + 1) / 2;
  for (int64_t first = 0; first < panels; first += PANELS) {
    const int64_t last = first + PANELS < panels ? first + PANELS : panels;
    for (int64_t begin = 0; begin < steps; begin += DEPTH) {
      const int64_t depth = steps - begin < DEPTH ? steps - begin : DEPTH;
      for (int64_t i = 0; i < row_tiles; i += 2) {
        const Bf16* left = a + i * a_stride + begin * P * TILE_ELEMENTS;
        for (int64_t j = first; j < last; ++j) {
          const int64_t columns = column_tiles - j * 2 < 2 ? 1 : 2;
          const Bf16* right = b + j * panel + begin * P * columns * TILE_ELEMENTS;
          const Bf16* next =
              begin + depth < steps ? right + depth * P * columns * TILE_ELEMENTS : right + PANELS * panel;
          prefetch_part(next, depth * P * columns * 16, i, row_tiles + 1);
          multiply_rows<P>(row_tiles - i < 2 ? 1 : 2, columns, depth, left, a_stride, right,
                           c + i * c_stride + j * 2 * RESULT_ELEMENTS, c_stride, start && begin == 0);
        }
      }
    }
  }
}

// The 16 lanes of two registers as one tile row: lane i becomes elements (2i,
// 2i+1) = (v0[i], v1[i]).
DCN_INLINE __m512i pairs(__m512i v0, __m512i v1) {  // upper halves of each lane
  return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(v0, 16), v1);
}

// Rounds to the upper half of each lane, ties away from zero.
DCN_INLINE __m512i rounded(__m512 v) { return _mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(0x8000)); }

DCN_INLINE __m512i upper(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi32(int(0xffff0000))); }

// As bfloat16: elements (2i, 2i+1) = (v0[i], v1[i]).
DCN_INLINE __m512i interleaved(__m512 v0, __m512 v1) {
  const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(v1, v0));  // [v0 | v1]
  alignas(64) static constexpr uint16_t ORDER[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                     8,  24, 9,  25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(ORDER), both);
}

// Writes one row of a tile and, for split numbers, of the one `low` elements
// further on.
template <int P>
DCN_INLINE void store_pairs(Bf16* tile_row, int64_t low, __m512 v0, __m512 v1) {
  if constexpr (P == 2) {
    const __m512i high0 = upper(rounded(v0)), high1 = upper(rounded(v1));
    const __m512 low0 = _mm512_sub_ps(v0, _mm512_castsi512_ps(high0));
    const __m512 low1 = _mm512_sub_ps(v1, _mm512_castsi512_ps(high1));
    _mm512_store_si512(tile_row, pairs(high0, high1));
    _mm512_store_si512(tile_row + low, pairs(rounded(low0), rounded(low1)));
  } else {
    _mm512_store_si512(tile_row, interleaved(v0, v1));
  }
}

// 16 elements of either type as float, those beyond `count` 0; and back.
DCN_INLINE __m512 load16(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(lanes(count), p); }
DCN_INLINE __m512 load16(const Bf16* p, int64_t count) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes(count), p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
DCN_INLINE void store16(float* p, int64_t count, __m512 v) { _mm512_mask_storeu_ps(p, lanes(count), v); }
DCN_INLINE void store16(Bf16* p, int64_t count, __m512 v) {
  _mm256_mask_storeu_epi16(p, lanes(count), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
}

// 32 consecutive channels of a pixel as two registers: float in order, bfloat16
// even and odd channels.
struct TwoRegisters {
  __m512 v[2];
};

struct ChannelMask {  // which of 32 channels there are
  uint32_t bits;
};

DCN_INLINE ChannelMask channel_mask(int64_t count) { return {count >= 32 ? ~0u : (1u << count) - 1}; }

DCN_INLINE TwoRegisters load_channels(const float* p, ChannelMask m) {
  return {{_mm512_maskz_loadu_ps(static_cast<__mmask16>(m.bits), p),
           _mm512_maskz_loadu_ps(static_cast<__mmask16>(m.bits >> 16), p + 16)}};
}

DCN_INLINE TwoRegisters load_channels(const Bf16* p, ChannelMask m) {
  const __m512i both = _mm512_maskz_loadu_epi16(m.bits, p);
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)), _mm512_castsi512_ps(upper(both))}};
}

DCN_INLINE void store_channels(float* p, ChannelMask m, TwoRegisters r) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(m.bits), r.v[0]);
  _mm512_mask_storeu_ps(p + 16, static_cast<__mmask16>(m.bits >> 16), r.v[1]);
}

DCN_INLINE void store_channels(Bf16* p, ChannelMask m, TwoRegisters r) {
  _mm512_mask_storeu_epi16(p, m.bits, interleaved(r.v[0], r.v[1]));
}

// Which of 32 channels lane i of register j of TwoRegisters holds.
template <class T>
DCN_INLINE int64_t channel_of(int64_t j, int64_t i) {
  return sizeof(T) == 4 ? 16 * j + i : 2 * i + j;
}

}  // namespace dcn::cpu::amx
