// A block's product of two tiles in shared memory whose rows run along the sum: results[m][n] += sum_k rows[m][k]
// columns[n][k], a chunk of k (64 bytes) at a time. By tensor cores, or by multiply-adds for float32.
#pragma once

#include "cuda/fused/precision.h"

namespace dcn::cuda::fused {

// Vectors from row to row: four of the chunk, one of padding, which spreads eight rows over all banks.
constexpr int ROW_STRIDE = CHUNK_VECTORS + 1;

// 8 warps as 2 (rows) x 4 (columns), each with BM/2 x BN/4 results.
template <class P, int BM, int BN>
struct RowProductByTensorCores {
  static constexpr int ROW_TILES = BM / 32, COLUMN_TILES = BN / 32;  // of 16 rows, of 8 columns
  static_assert(BM % 32 == 0 && BN % 64 == 0);
  float sum[ROW_TILES][COLUMN_TILES][4] = {};

  DCN_DEVICE static int first_row(int thread) { return thread / 32 % 2 * (BM / 2); }
  DCN_DEVICE static int first_column(int thread) { return thread / 64 * (BN / 4); }

  DCN_DEVICE void step(const Vector* rows, const Vector* columns, int thread) {
    const int matrix = thread % 32 / 8, line = thread % 8;  // the row of the 8 x 8 matrix that this lane names
    // Of A: rows 0-7, rows 8-15, then both again 16 bytes further. Of B: 16 bytes after 16 bytes, then columns 8-15.
    const Vector* a_row = rows + (first_row(thread) + matrix % 2 * 8 + line) * ROW_STRIDE + matrix / 2;
    const Vector* b_row = columns + (first_column(thread) + matrix / 2 * 8 + line) * ROW_STRIDE + matrix % 2;
#pragma unroll
    for (int depth = 0; depth < CHUNK_VECTORS; depth += 2) {
      unsigned a[ROW_TILES][4];
#pragma unroll
      for (int i = 0; i < ROW_TILES; ++i) {
        simt::load_matrices(a[i], a_row + i * 16 * ROW_STRIDE + depth);
        round_fragment<P>(a[i]);
      }
      multiply_fragments<P>(sum, a, [&](int j, unsigned(&both)[4]) {
        simt::load_matrices(both, b_row + j * 8 * ROW_STRIDE + depth);
        round_fragment<P>(both);
      });
    }
  }

  // f(row, column, sum, sum of column + 1) for every pair of this thread's results.
  template <class F>
  DCN_DEVICE void pairs(int thread, F f) const {
    for_pairs(sum, first_row(thread), first_column(thread), thread % 32, f);
  }
};

// Thread (ty, tx) of 16 x 16 holds rows ty + 16 i, columns tx + 16 j while it multiplies.
template <int BM, int BN>
struct RowProductByMultiplyAdds {
  static constexpr int ROWS = BM / 16, COLUMNS = BN / 16;
  float sum[ROWS][COLUMNS] = {};

  DCN_DEVICE void step(const Vector* rows, const Vector* columns, int thread) {
    const int ty = thread / 16, tx = thread % 16;
#pragma unroll 1  // all four at once would need more registers than there are
    for (int v = 0; v < CHUNK_VECTORS; ++v) {
      float a[ROWS][4], b[4];
#pragma unroll
      for (int i = 0; i < ROWS; ++i) memcpy(a[i], &rows[(ty + 16 * i) * ROW_STRIDE + v], sizeof(Vector));
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) {
        memcpy(b, &columns[(tx + 16 * j) * ROW_STRIDE + v], sizeof(Vector));
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
#pragma unroll
          for (int k = 0; k < 4; ++k) sum[i][j] += a[i][k] * b[k];
        }
      }
    }
  }

  // Same as the tensor cores' in form, but its columns are not neighbours: f(row, column, sum).
  template <class F>
  DCN_DEVICE void singles(int thread, F f) const {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) f(thread / 16 + 16 * i, thread % 16 + 16 * j, sum[i][j]);
    }
  }
};

template <class P, int BM, int BN>
struct RowProductChoice {
  using type = RowProductByTensorCores<P, BM, BN>;
};
template <int BM, int BN>
struct RowProductChoice<Float32, BM, BN> {
  using type = RowProductByMultiplyAdds<BM, BN>;
};
template <class P, int BM, int BN>
using RowProduct = typename RowProductChoice<P, BM, BN>::type;

// one(row, column, sum) and, where a thread has two neighbours, two(row, column, sum, next sum).
template <class Product, class One, class Two>
DCN_DEVICE void for_results(const Product& product, int thread, One one, Two two) {
  if constexpr (requires { product.singles(thread, one); }) {
    product.singles(thread, one);
  } else {
    product.pairs(thread, two);
  }
}

}  // namespace dcn::cuda::fused
