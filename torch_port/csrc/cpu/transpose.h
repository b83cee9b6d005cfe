// Transposition of a matrix in memory: to[column * to_pitch + row] = from[row * from_pitch + column].
#pragma once

#include <cstdint>

#include "cpu/kernel_choice.h"

namespace dcn::cpu {

template <class T>
using Transpose = void (*)(int64_t rows, int64_t columns, const T* from, int64_t from_pitch, T* to, int64_t to_pitch);

// cpu/simd/transpose_any.cpp
#define DCN_DECLARE(isa, T)                                                \
  namespace isa {                                                          \
  void transpose_matrix(int64_t, int64_t, const T*, int64_t, T*, int64_t); \
  }
DCN_DECLARE(portable, float)
DCN_DECLARE(portable, double)
DCN_DECLARE(avx2, float)
DCN_DECLARE(avx2, double)
DCN_DECLARE(avx512, float)
DCN_DECLARE(avx512, double)
#undef DCN_DECLARE

template <class T>
Transpose<T> chosen_transpose() {
  return kernel_for_isa<Transpose<T>>(DCN_VARIANTS(transpose_matrix));
}

// Two-byte elements: element by element.
template <>
inline Transpose<uint16_t> chosen_transpose<uint16_t>() {
  return [](int64_t rows, int64_t columns, const uint16_t* from, int64_t from_pitch, uint16_t* to, int64_t to_pitch) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column)
        to[column * to_pitch + row] = from[row * from_pitch + column];
    }
  };
}

}  // namespace dcn::cpu
