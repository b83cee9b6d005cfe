// The four ways in which the fused kernels of deform_conv2d multiply. Sums are float32 in all of them.
#pragma once

#include "cuda/fused/simt.h"

namespace dcn::cuda::fused {

using simt::Vector;

// float32 maps, ordinary multiply-adds.
struct Float32 {
  using Data = float;
  static constexpr bool TENSOR_CORE = false;
};
// float32 maps, factors rounded to 10 bits of mantissa.
struct Tf32 {
  using Data = float;
  static constexpr bool TENSOR_CORE = true;
};
// float16 or bfloat16 maps.
template <class S>
struct Small {
  using Data = S;
  static constexpr bool TENSOR_CORE = true;
};

constexpr int THREADS = 256, WARPS = THREADS / 32;

// A chunk is 64 bytes of one row along the sum: four 16-byte vectors.
constexpr int CHUNK_VECTORS = 4;
template <class S>
constexpr int PER_VECTOR = 16 / static_cast<int>(sizeof(S));
template <class S>
constexpr int CHUNK = CHUNK_VECTORS * PER_VECTOR<S>;

DCN_DEVICE Vector zero_vector() { return {0u, 0u, 0u, 0u}; }

// One tensor core instruction on 16 x 8 results. It takes 32 bytes of each row: 16 numbers of 2 bytes, 8 of 4.
template <class P>
DCN_DEVICE void tensor_core(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  simt::multiply_matrices(typename P::Data(), sum, a, b);
}

// What a fragment's register must go through before it enters a tensor core.
template <class P, int COUNT>
DCN_DEVICE void round_fragment(unsigned (&fragment)[COUNT]) {
  if constexpr (sizeof(typename P::Data) == 4) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) fragment[i] = simt::round_to_tf32(fragment[i]);
  }
}

// One step of a warp's tile, ROWS x 16 by COLUMNS x 8 results: fetch(j, fragments) gives the columns' fragments j and j
// + 1, in two registers each.
template <class P, int ROWS, int COLUMNS, class Fetch>
DCN_DEVICE void multiply_fragments(float (&sum)[ROWS][COLUMNS][4], const unsigned (&a)[ROWS][4], Fetch fetch) {
#pragma unroll
  for (int j = 0; j < COLUMNS; j += 2) {
    unsigned both[4];
    fetch(j, both);
    const unsigned near[2] = {both[0], both[1]}, far[2] = {both[2], both[3]};
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      tensor_core<P>(sum[i][j], a[i], near);
      tensor_core<P>(sum[i][j + 1], a[i], far);
    }
  }
}

// f(row, column, sum, sum of column + 1): the pairs of results that a thread of a warp at (row, column) holds.
template <int ROWS, int COLUMNS, class F>
DCN_DEVICE void for_pairs(const float (&sum)[ROWS][COLUMNS][4], int row, int column, int lane, F f) {
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int m = row + 16 * i + lane / 4, n = column + 8 * j + lane % 4 * 2;
      f(m, n, sum[i][j][0], sum[i][j][1]);
      f(m + 8, n, sum[i][j][2], sum[i][j][3]);
    }
  }
}

}  // namespace dcn::cuda::fused
