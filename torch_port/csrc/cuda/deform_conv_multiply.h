// The two ways a block multiplies its tiles in shared memory, and which results each thread then holds.
// Host and device; the tensor core instruction itself is handed in, so that tests can emulate it.
#pragma once

#include "cuda/deform_conv_tile.h"

namespace dcn::cuda::fused {

// float32, by ordinary multiply-adds: thread (ty, tx) of 16 x 16 holds rows ty + 16 i, columns tx + 16 j.
template <int BN>
struct PlainMultiply {
  static constexpr int ROWS = BM / 16, COLUMNS = BN / 16;
  float sum[ROWS][COLUMNS] = {};

  DCN_MEMBER void step(const Vector* rows, const Vector* columns, int thread) {
    const int ty = thread / 16, tx = thread % 16;
#pragma unroll 1  // all four at once would need more registers than two blocks on a multiprocessor leave
    for (int v = 0; v < ROW_VECTORS; ++v) {
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

  template <class F>
  DCN_MEMBER void results(int thread, F f) const {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) f(thread / 16 + 16 * i, thread % 16 + 16 * j, sum[i][j]);
    }
  }
};

// float16 and bfloat16, by mma.m16n8k16 with float32 sums: 8 warps as 2 (rows) x 4 (columns), each 32 x BN/4 results.
// Fragments as the PTX manual lays them out, lane = 4 * group + member:
//   A: registers (row group, k 2 member), (row group + 8, same k), (row group, k + 8), (row group + 8, k + 8)
//   B: registers (k 2 member, column group), (k + 8, column group)
//   C: (row group, column 2 member), (same row, column + 1), (row group + 8, both columns)
template <int BN>
struct MatrixMultiply {
  static constexpr int ROW_TILES = 2, COLUMN_TILES = BN / 32, DEPTH_STEPS = 2;
  float sum[ROW_TILES][COLUMN_TILES][4] = {};

  DCN_MEMBER static int first_row(int thread) { return thread / 32 % 2 * 32; }
  DCN_MEMBER static int first_column(int thread) { return thread / 64 * (BN / 4); }

  // Two neighbouring 16-bit numbers of row `row` from element k on.
  DCN_MEMBER static unsigned pair_at(const Vector* tile, int row, int k) {
    unsigned pair;
    memcpy(&pair, reinterpret_cast<const char*>(tile + row * ROW_STRIDE) + 2 * k, sizeof(pair));
    return pair;
  }
  DCN_MEMBER static void row_fragment(const Vector* rows, int thread, int tile, int depth, unsigned (&a)[4]) {
    const int group = thread % 32 / 4, k = depth * 16 + thread % 4 * 2, row = first_row(thread) + tile * 16 + group;
    a[0] = pair_at(rows, row, k);
    a[1] = pair_at(rows, row + 8, k);
    a[2] = pair_at(rows, row, k + 8);
    a[3] = pair_at(rows, row + 8, k + 8);
  }
  DCN_MEMBER static void column_fragment(const Vector* columns, int thread, int tile, int depth, unsigned (&b)[2]) {
    const int group = thread % 32 / 4, k = depth * 16 + thread % 4 * 2, column = first_column(thread) + tile * 8 + group;
    b[0] = pair_at(columns, column, k);
    b[1] = pair_at(columns, column, k + 8);
  }

  // multiply(sum[4], a[4], b[2]): the instruction, by all lanes of a warp together.
  template <class Multiply>
  DCN_MEMBER void step(const Vector* rows, const Vector* columns, int thread, Multiply multiply) {
#pragma unroll
    for (int depth = 0; depth < DEPTH_STEPS; ++depth) {
      unsigned a[ROW_TILES][4];
#pragma unroll
      for (int i = 0; i < ROW_TILES; ++i) row_fragment(rows, thread, i, depth, a[i]);
#pragma unroll
      for (int j = 0; j < COLUMN_TILES; ++j) {
        unsigned b[2];
        column_fragment(columns, thread, j, depth, b);
#pragma unroll
        for (int i = 0; i < ROW_TILES; ++i) multiply(sum[i][j], a[i], b);
      }
    }
  }

  template <class F>
  DCN_MEMBER void results(int thread, F f) const {
    const int row = first_row(thread) + thread % 32 / 4, column = first_column(thread) + thread % 4 * 2;
#pragma unroll
    for (int i = 0; i < ROW_TILES; ++i) {
#pragma unroll
      for (int j = 0; j < COLUMN_TILES; ++j) {
#pragma unroll
        for (int k = 0; k < 4; ++k) f(row + 16 * i + k / 2 * 8, column + 8 * j + k % 2, sum[i][j][k]);
      }
    }
  }
};

}  // namespace dcn::cuda::fused
