// C += A * B for matrices that lie in cache: the multiplication inside a tile.
#pragma once

#include "cpu/simd/vector.h"

namespace dcn::cpu::DCN_ISA {

// Rows of the micro-kernel: 6 rows of PER_PANEL registers leave room for a row of B and a broadcast element of A.
constexpr int ROWS = 6;
// Depth of one pass: a panel of B of that depth stays in the first-level cache for all rows of A. Each pass sums from
// zero, which also keeps rounding small: a sum of sums instead of one long one.
constexpr int64_t DEPTH = 128;

// A is read at a[i * row + k * step], so the same kernel multiplies by a transposed matrix.
template <class T>
struct LeftMatrix {
  const T* data;
  int64_t row, step;
};

constexpr int64_t LINE_BYTES = 64;

// Asks for the lines [begin, end) of an array ahead of their use; harmless beyond its end.
template <int LEVEL, class T>
DCN_INLINE void prefetch_lines(const T* data, int64_t begin, int64_t end) {
  const char* bytes = reinterpret_cast<const char*>(data);
  for (int64_t line = begin; line < end; ++line) __builtin_prefetch(bytes + line * LINE_BYTES, 0, LEVEL);
}

template <class T, int M, int NV>
DCN_INLINE void multiply_block(int64_t depth, LeftMatrix<T> a, const T* b, int64_t ldb, T* c, int64_t ldc) {
  using V = Vec<T>;
  V sum[M][NV];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[i][j] = V::all(T(0));
  }
  constexpr int64_t LINES = NV * V::LANES * sizeof(T) / LINE_BYTES;
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) prefetch_lines<3>(c + i * ldc, 0, LINES);
  const T* left = a.data;
  for (int64_t k = 0; k < depth; ++k) {
    V right[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) right[j] = V::load(b + j * V::LANES);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const V one = V::all(left[i * a.row]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) sum[i][j] = V::fma(one, right[j], sum[i][j]);
    }
    b += ldb;
    left += a.step;
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      T* target = c + i * ldc + j * V::LANES;
      V::store(target, V::add(V::load(target), sum[i][j]));
    }
  }
}

template <class T, int NV>
static void multiply_panel(int64_t rows, int64_t depth, LeftMatrix<T> a, const T* b, int64_t ldb, T* c, int64_t ldc) {
  for (int64_t begin = 0; begin < depth; begin += DEPTH) {
    const int64_t part = depth - begin < DEPTH ? depth - begin : DEPTH;
    const T* right = b + begin * ldb;
    LeftMatrix<T> left = {a.data + begin * a.step, a.row, a.step};
    // While this part is multiplied, the next part of B moves nearer bit by bit. The rows of A that follow are found by
    // the processor itself: asking for them too only takes time.
    const T* next = right + part * ldb;
    const int64_t lines = part * NV * Vec<T>::LANES * sizeof(T) / LINE_BYTES;
    const int64_t share = rows >= ROWS ? (lines + rows / ROWS - 1) / (rows / ROWS) : 0;
    int64_t i = 0;
    for (; i + ROWS <= rows; i += ROWS) {
      prefetch_lines<2>(next, i / ROWS * share, (i / ROWS + 1) * share);
      multiply_block<T, ROWS, NV>(part, left, right, ldb, c + i * ldc, ldc);
      left.data += ROWS * a.row;
    }
    switch (rows - i) {
      case 5: multiply_block<T, 5, NV>(part, left, right, ldb, c + i * ldc, ldc); break;
      case 4: multiply_block<T, 4, NV>(part, left, right, ldb, c + i * ldc, ldc); break;
      case 3: multiply_block<T, 3, NV>(part, left, right, ldb, c + i * ldc, ldc); break;
      case 2: multiply_block<T, 2, NV>(part, left, right, ldb, c + i * ldc, ldc); break;
      case 1: multiply_block<T, 1, NV>(part, left, right, ldb, c + i * ldc, ldc); break;
      default: break;
    }
  }
}

// One panel of `columns` <= LANES * PER_PANEL columns, a multiple of LANES.
template <class T>
static void multiply(int64_t rows, int64_t columns, int64_t depth, LeftMatrix<T> a, const T* b, int64_t ldb, T* c,
                     int64_t ldc) {
  using V = Vec<T>;
  switch (columns / V::LANES) {
    case 1: return multiply_panel<T, 1>(rows, depth, a, b, ldb, c, ldc);
    case 2: return multiply_panel<T, 2>(rows, depth, a, b, ldb, c, ldc);
    case 3:
      if constexpr (V::PER_PANEL >= 3) return multiply_panel<T, 3>(rows, depth, a, b, ldb, c, ldc);
      break;
    case 4:
      if constexpr (V::PER_PANEL >= 4) return multiply_panel<T, 4>(rows, depth, a, b, ldb, c, ldc);
      break;
    default: break;
  }
}

}  // namespace dcn::cpu::DCN_ISA
