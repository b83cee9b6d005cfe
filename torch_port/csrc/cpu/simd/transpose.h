// Transposes a matrix in memory: to[column * to_pitch + row] = from[row * from_pitch + column].
#pragma once

#include "cpu/simd/vector.h"

#if defined(__AVX512F__)
#include "cpu/simd/transpose16.h"
#endif

namespace dcn::cpu::DCN_ISA {

template <class T>
static void transpose_by_element(int64_t rows, int64_t columns, const T* from, int64_t from_pitch, T* to,
                                 int64_t to_pitch) {
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t row = 0; row < rows; ++row) to[column * to_pitch + row] = from[row * from_pitch + column];
  }
}

#if defined(__AVX512F__)

constexpr int64_t SQUARE = 16;

// At most 16 x 16 elements.
DCN_INLINE void transpose_square(int64_t rows, int64_t columns, const float* from, int64_t from_pitch, float* to,
                                 int64_t to_pitch) {
  __m512i r[16];
  const __mmask16 read = lanes(columns), written = lanes(rows);
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; ++i) {
    r[i] = _mm512_maskz_loadu_epi32(i < rows ? read : 0, from + (i < rows ? i : 0) * from_pitch);
  }
  transpose(r);
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; ++i) {
    if (i < columns) _mm512_mask_storeu_epi32(to + i * to_pitch, written, r[i]);
  }
}

#elif defined(__AVX2__)

constexpr int64_t SQUARE = 8;

DCN_INLINE void transpose_square(int64_t rows, int64_t columns, const float* from, int64_t from_pitch, float* to,
                                 int64_t to_pitch) {
  if (rows < 8 || columns < 8) return transpose_by_element(rows, columns, from, from_pitch, to, to_pitch);
  __m256 t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    const __m256 a = _mm256_loadu_ps(from + i * from_pitch), b = _mm256_loadu_ps(from + (i + 1) * from_pitch);
    t[i] = _mm256_unpacklo_ps(a, b);
    t[i + 1] = _mm256_unpackhi_ps(a, b);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_pitch, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_pitch, _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
  }
}

#else

constexpr int64_t SQUARE = 16;

DCN_INLINE void transpose_square(int64_t rows, int64_t columns, const float* from, int64_t from_pitch, float* to,
                                 int64_t to_pitch) {
  transpose_by_element(rows, columns, from, from_pitch, to, to_pitch);
}

#endif

DCN_INLINE void transpose_square(int64_t rows, int64_t columns, const double* from, int64_t from_pitch, double* to,
                                 int64_t to_pitch) {
  transpose_by_element(rows, columns, from, from_pitch, to, to_pitch);
}

// Rows that are read next, and those that are written next, lie where the processor does not look for them.
template <class T>
static void transpose_any(int64_t rows, int64_t columns, const T* from, int64_t from_pitch, T* to, int64_t to_pitch) {
  for (int64_t column = 0; column < columns; column += SQUARE) {
    const int64_t width = columns - column < SQUARE ? columns - column : SQUARE;
    for (int64_t row = 0; row < rows; row += SQUARE) {
      const int64_t height = rows - row < SQUARE ? rows - row : SQUARE;
      const T* square = from + row * from_pitch + column;
      for (int64_t i = 2 * SQUARE; i < 3 * SQUARE && row + i < rows; ++i) {
        __builtin_prefetch(square + i * from_pitch);
        __builtin_prefetch(square + i * from_pitch + width - 1);
      }
      T* target = to + column * to_pitch + row;
      for (int64_t i = SQUARE; i < 2 * SQUARE && column + i < columns; ++i) {
        __builtin_prefetch(target + i * to_pitch, 1);
        __builtin_prefetch(target + i * to_pitch + height - 1, 1);
      }
      transpose_square(height, width, square, from_pitch, target, to_pitch);
    }
  }
}

}  // namespace dcn::cpu::DCN_ISA
