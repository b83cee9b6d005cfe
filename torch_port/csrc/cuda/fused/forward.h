// deform_conv2d forward, fused: a block makes BM positions x BN output channels of one image. It walks (tap, chunk of
// input channels): gathers the samples of a chunk into shared memory and multiplies them there. While one chunk is
// multiplied, the next one's corners are on their way into registers and the weights of the next two into shared
// memory; one barrier per step.
#pragma once

#include "cuda/fused/row_product.h"
#include "cuda/fused/sample.h"
#include "cuda/fused/walk.h"

namespace dcn::cuda::fused {

// weight lies with channels innermost: [O, K, C/groups]. Strides of the output in elements. With more than one split,
// split s of the steps goes to partial[s][N][OH*OW][O] instead of to the output.
template <class S>
struct ForwardOperands {
  Source<S> from;
  const S* weight;
  const S* bias;
  S* output;
  float* partial;
  int splits;
  int64_t out_stride_image, out_stride_channel, out_stride_position;
};

// What one block makes: positions from first_position on, output channels [first_out, end_out).
struct Tile {
  int64_t image, first_position;
  int group, first_out, end_out;
};

template <int BM, int BN>
struct ForwardGrid {
  int64_t position_tiles, channel_tiles;  // of one image, of one weight group

  DCN_MEMBER explicit ForwardGrid(const DeformConvShape& s)
      : position_tiles((s.positions() + BM - 1) / BM), channel_tiles((s.out_channels_per_group() + BN - 1) / BN) {}

  DCN_MEMBER Tile tile(const DeformConvShape& s, int64_t block_x, int64_t block_y) const {
    const int group = static_cast<int>(block_y / channel_tiles), width = static_cast<int>(s.out_channels_per_group());
    return {block_x / position_tiles, block_x % position_tiles * BM, group,
            group * width + static_cast<int>(block_y % channel_tiles) * BN, (group + 1) * width};
  }
};

template <int BM, int BN>
struct ForwardShared {
  Vector rows[2][BM * ROW_STRIDE];     // samples
  Vector columns[3][BN * ROW_STRIDE];  // weights
  Record records[2][BM];
};

// Starts the copy of one chunk of weights.
template <class S, int BN>
DCN_DEVICE void fetch_weights(const ForwardOperands<S>& a, const Tile& tile, const Step& step, int thread, Vector* to) {
  const DeformConvShape& s = a.from.shape;
  const int depth = static_cast<int>(s.channels_per_group()), row_stride = static_cast<int>(s.taps()) * depth;
  const int first_channel = tile.group * depth, vector = thread % CHUNK_VECTORS;
  const bool inside = vector * PER_VECTOR<S> < step.count(CHUNK<S>);
  const S* from = a.weight + static_cast<int64_t>(tile.first_out) * row_stride +
                  (step.tap * depth + step.channel - first_channel + vector * PER_VECTOR<S>);
#pragma unroll
  for (int r = 0; r < BN * CHUNK_VECTORS / THREADS; ++r) {
    const int row = thread / CHUNK_VECTORS + r * (THREADS / CHUNK_VECTORS);
    const bool valid = inside && tile.first_out + row < tile.end_out;
    simt::copy_async(to + row * ROW_STRIDE + vector, valid ? from + row * row_stride : a.weight, valid);
  }
}

// Corners of one chunk of samples, in registers: this thread's share of BM rows x 4 vectors.
template <int BM>
struct Gathered {
  static constexpr int ITEMS = BM * CHUNK_VECTORS / THREADS;
  Corners corners[ITEMS];
};

template <class S, int BM>
DCN_DEVICE void gather(const ForwardOperands<S>& a, const Tile& tile, const Step& step, const Record* records,
                       int thread, Gathered<BM>& to) {
  const int vector = thread % CHUNK_VECTORS;
  const bool inside = vector * PER_VECTOR<S> < step.count(CHUNK<S>);
  const S* channels = a.from.image(tile.image) + (step.channel + vector * PER_VECTOR<S>);
#pragma unroll
  for (int r = 0; r < Gathered<BM>::ITEMS; ++r) {
    const int row = thread / CHUNK_VECTORS + r * (THREADS / CHUNK_VECTORS);
    to.corners[r] = load_corners(channels, records[row].at, inside);
  }
}

template <class S, int BM>
DCN_DEVICE void store_samples(const Gathered<BM>& from, const Record* records, int thread, Vector* rows) {
#pragma unroll
  for (int r = 0; r < Gathered<BM>::ITEMS; ++r) {
    const int row = thread / CHUNK_VECTORS + r * (THREADS / CHUNK_VECTORS);
    rows[row * ROW_STRIDE + thread % CHUNK_VECTORS] = blend<S>(from.corners[r], records[row].weight);
  }
}

template <class S>
DCN_DEVICE void write_one(const ForwardOperands<S>& a, const Tile& tile, int split, int row, int column, float sum) {
  const int64_t position = tile.first_position + row;
  const int o = tile.first_out + column;
  if (position >= a.from.shape.positions() || o >= tile.end_out) return;
  if (a.splits > 1) {
    const int64_t pixels = a.from.shape.images * a.from.shape.positions();
    const int64_t pixel = tile.image * a.from.shape.positions() + position;
    a.partial[(split * pixels + pixel) * a.from.shape.out_channels + o] = sum;
    return;
  }
  const float bias = a.bias != nullptr ? static_cast<float>(a.bias[o]) : 0.0f;
  a.output[tile.image * a.out_stride_image + o * a.out_stride_channel + position * a.out_stride_position] =
      static_cast<S>(sum + bias);
}

// Two neighbouring channels: one store where they are neighbours in memory, too.
template <class S>
DCN_DEVICE void write_two(const ForwardOperands<S>& a, const Tile& tile, int split, int row, int column, float first,
                          float second) {
  const int64_t position = tile.first_position + row;
  const int o = tile.first_out + column;
  const bool together = a.splits == 1 && a.out_stride_channel == 1 && o % 2 == 0 && o + 1 < tile.end_out &&
                        a.from.shape.out_channels % 2 == 0 && position < a.from.shape.positions();
  if (!together) {
    write_one(a, tile, split, row, column, first);
    write_one(a, tile, split, row, column + 1, second);
    return;
  }
  struct alignas(2 * sizeof(S)) Pair {
    S first, second;
  };
  const float bias = a.bias != nullptr ? static_cast<float>(a.bias[o]) : 0.0f;
  const float next_bias = a.bias != nullptr ? static_cast<float>(a.bias[o + 1]) : 0.0f;
  *reinterpret_cast<Pair*>(a.output + tile.image * a.out_stride_image + position * a.out_stride_position + o) = {
      static_cast<S>(first + bias), static_cast<S>(second + next_bias)};
}

template <class P, int BM, int BN>
DCN_DEVICE void forward_block(const ForwardOperands<typename P::Data>& a, ForwardShared<BM, BN>& shared,
                              int64_t block_x, int64_t block_y, int split) {
  using S = typename P::Data;
  const DeformConvShape& s = a.from.shape;
  const int thread = simt::thread();
  const Tile tile = ForwardGrid<BM, BN>(s).tile(s, block_x, block_y);
  const Share share = share_of(static_cast<int>(s.taps()) * steps_per_tap(s, tile.group, CHUNK<S>), split, a.splits);
  const int steps = share.end - share.begin;
  const auto make_records = [&](const Step& step, Record* to) {
    if (thread < BM)
      to[thread] = record_of(a.from, tile.image, step.offset_group, step.tap, tile.first_position + thread);
  };
  RowProduct<P, BM, BN> product;

  const Step start = step_number(s, tile.group, CHUNK<S>, share.begin);
  Step next = step_after(s, tile.group, CHUNK<S>, start);  // beyond the last one where there is only one: not used then
  bool same = next.shares_samples(start);                  // whether the next step's records are those of this one
  make_records(start, shared.records[0]);
  if (steps > 1 && !same) make_records(next, shared.records[1]);
  fetch_weights<S, BN>(a, tile, start, thread, shared.columns[0]);
  simt::commit_async();
  if (steps > 1) fetch_weights<S, BN>(a, tile, next, thread, shared.columns[1]);
  simt::commit_async();
  simt::barrier();
  Gathered<BM> gathered;
  gather(a, tile, start, shared.records[0], thread, gathered);
  store_samples<S>(gathered, shared.records[0], thread, shared.rows[0]);
  int slot = 0;  // of the records of the samples gathered last
  for (int it = 0; it < steps; ++it) {
    simt::wait_async<1>();
    simt::barrier();  // this step's samples and weights are there, and nobody reads the last step's any more
    Step later = next;
    if (it + 2 < steps) {
      later = step_after(s, tile.group, CHUNK<S>, next);
      fetch_weights<S, BN>(a, tile, later, thread, shared.columns[(it + 2) % 3]);
    }
    simt::commit_async();
    if (it + 1 < steps) {
      slot = same ? slot : slot ^ 1;
      gather(a, tile, next, shared.records[slot], thread, gathered);
    }
    if (it + 2 < steps) {
      same = later.shares_samples(next);
      if (!same) make_records(later, shared.records[slot ^ 1]);  // read by nobody until the next barrier
    }
    product.step(shared.rows[it % 2], shared.columns[it % 3], thread);
    if (it + 1 < steps) store_samples<S>(gathered, shared.records[slot], thread, shared.rows[(it + 1) % 2]);
    next = later;
  }
  for_results(
      product, thread, [&](int row, int column, float sum) { write_one(a, tile, split, row, column, sum); },
      [&](int row, int column, float first, float second) { write_two(a, tile, split, row, column, first, second); });
}

}  // namespace dcn::cuda::fused
