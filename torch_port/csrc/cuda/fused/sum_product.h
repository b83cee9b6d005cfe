// A block's product of two tiles in shared memory whose columns run along the sum (one row per position):
// results[m][n] += sum_k left[k][m] right[k][n], DEPTH<S> positions at a time. For the weight gradient.
#pragma once

#include "cuda/fused/precision.h"

namespace dcn::cuda::fused {

// Positions per step: 32 for 2-byte numbers, 16 for float32.
template <class S>
constexpr int DEPTH = CHUNK<S>;

// Vectors from row to row of a tile of WIDTH numbers. The padding spreads what eight lanes (ldmatrix) or four rows by
// eight columns (float32) read over all banks.
template <class S, int WIDTH>
constexpr int PITCH = WIDTH / PER_VECTOR<S> + (sizeof(S) == 4 ? 2 : 1);

// 8 warps as BM/64 (rows) x the rest (columns), each 64 x WARP_COLUMNS results.
template <class P, int BM, int BN>
struct SumProductByTensorCores {
  using S = typename P::Data;
  static constexpr int WARP_ROWS = BM / 64, WARP_COLUMNS = BN / (WARPS / WARP_ROWS);
  static constexpr int ROW_TILES = 4, COLUMN_TILES = WARP_COLUMNS / 8;
  static_assert(BM % 64 == 0 && WARP_COLUMNS % 16 == 0);
  float sum[ROW_TILES][COLUMN_TILES][4] = {};

  DCN_DEVICE static int first_row(int thread) { return thread / 32 % WARP_ROWS * 64; }
  DCN_DEVICE static int first_column(int thread) { return thread / 32 / WARP_ROWS * WARP_COLUMNS; }

  // Rows (m) m .. m + 15 at positions k ...: register 0 rows 0-7, register 1 rows 8-15, then both at later positions.
  DCN_DEVICE static void row_fragment(const Vector* left, int k, int m, int lane, unsigned (&a)[4]) {
    if constexpr (sizeof(S) == 2) {
      const int matrix = lane / 8;
      const Vector* at = left + (k + lane % 8 + matrix / 2 * 8) * PITCH<S, BM> + m / 8 + matrix % 2;
      simt::load_matrices_transposed(a, at);
    } else {
      const unsigned* at = reinterpret_cast<const unsigned*>(left) + (k + lane % 4) * (PITCH<S, BM> * 4) + m + lane / 4;
      a[0] = at[0], a[1] = at[8], a[2] = at[4 * PITCH<S, BM> * 4], a[3] = at[4 * PITCH<S, BM> * 4 + 8];
      round_fragment<P>(a);
    }
  }
  // Columns (n) n .. n + 15 as two fragments: registers 0, 1 are those of columns 0-7, 2, 3 those of columns 8-15.
  DCN_DEVICE static void column_fragments(const Vector* right, int k, int n, int lane, unsigned (&b)[4]) {
    if constexpr (sizeof(S) == 2) {
      const int matrix = lane / 8;
      const Vector* at = right + (k + lane % 8 + matrix % 2 * 8) * PITCH<S, BN> + n / 8 + matrix / 2;
      simt::load_matrices_transposed(b, at);
    } else {
      const unsigned* at =
          reinterpret_cast<const unsigned*>(right) + (k + lane % 4) * (PITCH<S, BN> * 4) + n + lane / 4;
      b[0] = at[0], b[1] = at[4 * PITCH<S, BN> * 4], b[2] = at[8], b[3] = at[4 * PITCH<S, BN> * 4 + 8];
      round_fragment<P>(b);
    }
  }

  DCN_DEVICE void step(const Vector* left, const Vector* right, int thread) {
    constexpr int PER_INSTRUCTION = 32 / static_cast<int>(sizeof(S));  // positions: 16 or 8
    const int lane = thread % 32;
#pragma unroll
    for (int k = 0; k < DEPTH<S>; k += PER_INSTRUCTION) {
      unsigned a[ROW_TILES][4];
#pragma unroll
      for (int i = 0; i < ROW_TILES; ++i) row_fragment(left, k, first_row(thread) + 16 * i, lane, a[i]);
      multiply_fragments<P>(sum, a, [&](int j, unsigned(&both)[4]) {
        column_fragments(right, k, first_column(thread) + 8 * j, lane, both);
      });
    }
  }

  // f(row, column, sum) for each of this thread's results.
  template <class F>
  DCN_DEVICE void results(int thread, F f) const {
    for_pairs(sum, first_row(thread), first_column(thread), thread % 32,
              [&](int row, int column, float first, float second) {
                f(row, column, first);
                f(row, column + 1, second);
              });
  }
};

// Thread (ty, tx) of 16 x 16 holds rows 4 ty + 64 i + 0..3, columns 4 tx + 64 j + 0..3.
template <int BM, int BN>
struct SumProductByMultiplyAdds {
  static constexpr int ROWS = BM / 64, COLUMNS = BN / 64;
  float sum[ROWS][4][COLUMNS][4] = {};

  DCN_DEVICE void step(const Vector* left, const Vector* right, int thread) {
    const int ty = thread / 16, tx = thread % 16;
#pragma unroll 4
    for (int k = 0; k < DEPTH<float>; ++k) {
      float a[ROWS][4], b[4];
#pragma unroll
      for (int i = 0; i < ROWS; ++i) memcpy(a[i], &left[k * PITCH<float, BM> + ty + 16 * i], sizeof(Vector));
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) {
        memcpy(b, &right[k * PITCH<float, BN> + tx + 16 * j], sizeof(Vector));
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
#pragma unroll
          for (int u = 0; u < 4; ++u) {
#pragma unroll
            for (int v = 0; v < 4; ++v) sum[i][u][j][v] += a[i][u] * b[v];
          }
        }
      }
    }
  }

  template <class F>
  DCN_DEVICE void results(int thread, F f) const {
    const int ty = thread / 16, tx = thread % 16;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
      for (int u = 0; u < 4; ++u) {
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
#pragma unroll
          for (int v = 0; v < 4; ++v) f(4 * ty + 64 * i + u, 4 * tx + 64 * j + v, sum[i][u][j][v]);
        }
      }
    }
  }
};

template <class P, int BM, int BN>
struct SumProductChoice {
  using type = SumProductByTensorCores<P, BM, BN>;
};
template <int BM, int BN>
struct SumProductChoice<Float32, BM, BN> {
  using type = SumProductByMultiplyAdds<BM, BN>;
};
template <class P, int BM, int BN>
using SumProduct = typename SumProductChoice<P, BM, BN>::type;

}  // namespace dcn::cuda::fused
