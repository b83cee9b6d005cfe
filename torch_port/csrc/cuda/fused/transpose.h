// Matrices [rows, columns] to [columns, rows], one per image, through shared memory; with a change of type on the way.
#pragma once

#include "cuda/fused/precision.h"

namespace dcn::cuda::fused {

constexpr int SIDE = 32;

template <class From, class To>
struct TransposeOperands {
  const From* from;
  To* to;
  int64_t rows, columns;

  DCN_MEMBER int64_t tiles_across() const { return (columns + SIDE - 1) / SIDE; }
  DCN_MEMBER int64_t tiles() const { return (rows + SIDE - 1) / SIDE * tiles_across(); }
};

template <class From, class To>
DCN_DEVICE void transpose_block(const TransposeOperands<From, To>& a, To (&tile)[SIDE][SIDE + 1], int64_t block) {
  const int64_t image = block / a.tiles(), row = block % a.tiles() / a.tiles_across() * SIDE;
  const int64_t column = block % a.tiles() % a.tiles_across() * SIDE;
  const int x = simt::thread() % SIDE;
  const From* from = a.from + image * a.rows * a.columns;
  To* to = a.to + image * a.rows * a.columns;
  for (int y = simt::thread() / SIDE; y < SIDE; y += THREADS / SIDE) {
    if (row + y < a.rows && column + x < a.columns)
      tile[y][x] = static_cast<To>(from[(row + y) * a.columns + column + x]);
  }
  simt::barrier();
  for (int y = simt::thread() / SIDE; y < SIDE; y += THREADS / SIDE) {
    if (column + y < a.columns && row + x < a.rows) to[(column + y) * a.rows + row + x] = tile[x][y];
  }
}

}  // namespace dcn::cuda::fused
