// The fused forward of deform_conv2d as index arithmetic: which thread gathers, stores, multiplies and writes what.
// Host and device, no CUDA header, so that tests/cuda/emulate_fused.cpp runs the same functions on the CPU.
//
// One block makes a tile of BM = 64 positions by BN output channels. It walks (tap, chunk of input channels); a chunk is
// 64 bytes of one position, four 16-byte vectors. In shared memory a row of either operand is those four vectors and
// one of padding, which spreads the rows over all banks.
#pragma once

#include <cstring>

#include "cuda/deform_conv.cuh"

namespace dcn::cuda::fused {

constexpr int THREADS = 256, BM = 64, ROW_VECTORS = 4, ROW_STRIDE = 5;

#if defined(__CUDACC__)
using Vector = uint4;
#else
struct alignas(16) Vector {
  unsigned x, y, z, w;
};
#endif

template <class S>
constexpr int PER_VECTOR = 16 / static_cast<int>(sizeof(S));
template <class S>
constexpr int CHUNK = ROW_VECTORS * PER_VECTOR<S>;  // input channels: 16 in float32, 32 in float16 and bfloat16

// input and weight lie with channels innermost: [N, H, W, C], [O, K, C/groups]. Strides of the output in elements.
template <class S>
struct Operands {
  DeformConvShape shape;
  const S* input;
  const float* offset;
  const float* mask;
  const S* weight;
  const S* bias;
  S* output;
  int64_t out_stride_image, out_stride_channel, out_stride_position;
};

template <int BN>
struct Grid {
  int64_t position_tiles, channel_tiles;  // of one image, of one weight group

  DCN_MEMBER explicit Grid(const DeformConvShape& s)
      : position_tiles((s.positions() + BM - 1) / BM), channel_tiles((s.out_channels_per_group() + BN - 1) / BN) {}
};

// What one block makes: positions from first_position on, output channels [first_out, end_out).
struct Tile {
  int64_t image, first_position, group, first_out, end_out;
};

template <int BN>
DCN_HD Tile tile_of(const DeformConvShape& s, int64_t block_x, int64_t block_y) {
  const Grid<BN> grid(s);
  const int64_t group = block_y / grid.channel_tiles, group_end = (group + 1) * s.out_channels_per_group();
  return {block_x / grid.position_tiles, block_x % grid.position_tiles * BM, group,
          group * s.out_channels_per_group() + block_y % grid.channel_tiles * BN, group_end};
}

// One step of a block: a tap and a chunk of channels that share one offset group. 32 bits suffice: see `fits`.
struct Step {
  int tap, channel, offset_group;

  DCN_MEMBER bool shares_samples(const Step& o) const { return tap == o.tap && offset_group == o.offset_group; }
};

template <class S>
DCN_HD int steps_of(const DeformConvShape& s) {
  return static_cast<int>(s.taps() * (s.channels_per_group() / CHUNK<S>));
}
DCN_HD Step first_step(const DeformConvShape& s, const Tile& tile) {
  const int channel = static_cast<int>(tile.group * s.channels_per_group());
  return {0, channel, channel / static_cast<int>(s.channels_per_offset_group())};
}
// All chunks of a tap, then the next tap. No division but at the end of a tap: this runs in the innermost loop.
template <class S>
DCN_HD Step step_after(const DeformConvShape& s, const Tile& tile, Step step) {
  step.channel += CHUNK<S>;
  if (step.channel == static_cast<int>((tile.group + 1) * s.channels_per_group())) {
    const Step first = first_step(s, tile);
    return {step.tap + 1, first.channel, first.offset_group};
  }
  if (step.channel == (step.offset_group + 1) * static_cast<int>(s.channels_per_offset_group())) ++step.offset_group;
  return step;
}

// Where one position's sample lies: elements from the start of its image, -1 for a corner that is not read; weights with
// the mask multiplied in.
struct Record {
  int at[4];
  float weight[4];
};

template <class Border, class S>
DCN_HD Record record_of(const Operands<S>& a, const Tile& tile, const Step& step, int row) {
  const DeformConvShape& s = a.shape;
  const int64_t position = tile.first_position + row;
  if (position >= s.positions()) return {{-1, -1, -1, -1}, {0, 0, 0, 0}};
  const Sample<float> sample =
      sample_at<Border>(s, a.offset, a.mask, tile.image, step.offset_group, step.tap, position);
  const FourCorners<int64_t> at = bilinear_addresses(sample.cell, s.width * s.channels, s.channels, -1);
  const FourCorners<float> w = bilinear_weights(sample.cell);
  return {{static_cast<int>(at.v00), static_cast<int>(at.v01), static_cast<int>(at.v10), static_cast<int>(at.v11)},
          {w.v00 * sample.mask, w.v01 * sample.mask, w.v10 * sample.mask, w.v11 * sample.mask}};
}

// What one thread carries from global to shared memory in one step.
template <int BN>
struct Load {
  static constexpr int WEIGHTS = BN * ROW_VECTORS / THREADS;
  Vector corner[4];
  Vector weight[WEIGHTS];
};

DCN_HD Vector zero_vector() { return {0u, 0u, 0u, 0u}; }
template <class S>
DCN_HD Vector vector_at(const S* p) {
  return *reinterpret_cast<const Vector*>(p);
}

template <class S, int BN>
DCN_HD void load(const Operands<S>& a, const Tile& tile, const Step& step, const Record* records, int thread,
                 Load<BN>& to) {
  const DeformConvShape& s = a.shape;
  const Record& record = records[thread / ROW_VECTORS];
  const int lane = thread % ROW_VECTORS * PER_VECTOR<S>;
  const S* map = a.input + tile.image * (s.height * s.width * s.channels) + (step.channel + lane);
#pragma unroll
  for (int k = 0; k < 4; ++k) to.corner[k] = record.at[k] < 0 ? zero_vector() : vector_at(map + record.at[k]);
  const int depth = static_cast<int>(s.channels_per_group()), row_stride = static_cast<int>(s.taps()) * depth;
  const int first_channel = static_cast<int>(tile.group) * depth, first_row = thread / ROW_VECTORS;
  const int rows = static_cast<int>(tile.end_out - tile.first_out);
  const S* weight = a.weight + tile.first_out * row_stride + (step.tap * depth + step.channel - first_channel + lane);
#pragma unroll
  for (int r = 0; r < Load<BN>::WEIGHTS; ++r) {
    const int row = first_row + r * (THREADS / ROW_VECTORS);
    to.weight[r] = row < rows ? vector_at(weight + row * row_stride) : zero_vector();
  }
}

// Four corners of several channels, interpolated; a corner that was not read counts as 0.
template <class S>
DCN_HD Vector blend(const Vector (&corner)[4], const Record& record) {
  float sum[PER_VECTOR<S>] = {};
  S part[PER_VECTOR<S>];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    memcpy(part, &corner[k], sizeof(Vector));
    for (int e = 0; e < PER_VECTOR<S>; ++e) sum[e] += record.weight[k] * static_cast<float>(part[e]);
  }
  for (int e = 0; e < PER_VECTOR<S>; ++e) part[e] = static_cast<S>(sum[e]);
  Vector result;
  memcpy(&result, part, sizeof(Vector));
  return result;
}

template <class S, int BN>
DCN_HD void store(const Load<BN>& from, const Record* records, int thread, Vector* rows, Vector* columns) {
  const int row = thread / ROW_VECTORS, vector = thread % ROW_VECTORS;
  rows[row * ROW_STRIDE + vector] = blend<S>(from.corner, records[row]);
#pragma unroll
  for (int r = 0; r < Load<BN>::WEIGHTS; ++r) {
    const int item = thread + r * THREADS;
    columns[item / ROW_VECTORS * ROW_STRIDE + item % ROW_VECTORS] = from.weight[r];
  }
}

// One result to memory, unless it lies beyond the map or the group.
template <class S>
DCN_HD void write_result(const Operands<S>& a, const Tile& tile, int row, int column, float sum) {
  const int64_t position = tile.first_position + row, o = tile.first_out + column;
  if (position >= a.shape.positions() || o >= tile.end_out) return;
  const float bias = a.bias != nullptr ? static_cast<float>(a.bias[o]) : 0.0f;
  a.output[tile.image * a.out_stride_image + o * a.out_stride_channel + position * a.out_stride_position] =
      static_cast<S>(sum + bias);
}

// Whether the tiles can do this shape: chunks must not straddle groups, and corners of an
// image and the weights are addressed in 31 bits.
template <class S>
DCN_HD bool fits(const DeformConvShape& s) {
  return s.channels_per_group() % CHUNK<S> == 0 && s.channels_per_offset_group() % CHUNK<S> == 0 &&
         s.height * s.width < INT32_MAX / s.channels &&
         s.out_channels * s.taps() < INT32_MAX / s.channels_per_group();
}

}  // namespace dcn::cuda::fused
