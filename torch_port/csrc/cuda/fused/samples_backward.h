// deform_conv2d backward for the input, the offsets and the mask, fused: a block has BM positions of one image and one
// tap. Piece by piece of the channels it makes the samples' gradients, weight transposed times grad, keeps them in
// shared memory, and gives them on: to the input, by atomic additions of four channels, and, as sums over the channels,
// to the offsets and the mask of its positions, which no other block touches.
#pragma once

#include "cuda/fused/row_product.h"
#include "cuda/fused/sample.h"
#include "cuda/fused/walk.h"

namespace dcn::cuda::fused {

// grad [N, OH*OW, O] and weight [K, C/groups, O]: output channels innermost. grad_input [N, H, W, C]: zero-filled;
// fixed: the same in numbers of 2^-exponent, or null. Null: every gradient that nobody asked for. grad_input and fixed:
// both or none, where sums are to be the same in every run.
template <class S>
struct SamplesOperands {
  Source<S> from;
  const S* grad;
  const S* weight;
  float* grad_input;
  int64_t* fixed;
  const int* exponent;
  float* grad_offset;
  float* grad_mask;
};

constexpr int PIECE = 128;                // channels at a time: four per lane
constexpr int STAGED_STRIDE = PIECE + 4;  // floats from position to position

// One position's sample. `weight` without the mask.
struct FullRecord {
  int at[4];
  float weight[4];
  float y, x, mask;  // fractions
  int inside;
};

// Sums over channels, each times the sample's gradient: differences down the left and right corners, along the upper
// and lower ones, and values.
constexpr int NUM_SUMS = 5;

template <int BM>
struct SamplesShared {
  union {
    struct {
      Vector rows[3][BM * ROW_STRIDE];
      Vector columns[3][PIECE * ROW_STRIDE];
    };
    float staged[BM * STAGED_STRIDE];
  };
  FullRecord records[BM];
  float sums[BM][NUM_SUMS];
};

template <class S>
DCN_DEVICE FullRecord full_record_of(const Source<S>& from, int64_t image, int offset_group, int tap,
                                     int64_t position) {
  FullRecord record = {{-1, -1, -1, -1}, {0, 0, 0, 0}, 0, 0, 0, 0};
  if (position >= from.shape.positions()) return record;
  const Sample<float> sample = from.sample(image, offset_group, tap, position);
  if (!sample.cell.inside()) return record;
  const FourCorners<float> w = bilinear_weights(sample.cell);
  record = {{}, {w.v00, w.v01, w.v10, w.v11}, sample.cell.y.fraction, sample.cell.x.fraction, sample.mask, 1};
  corners_of(from, sample.cell, record.at);
  return record;
}

// Starts the copies of chunk `chunk` along the output channels: rows of grad, rows of weight.
template <class S, int BM>
DCN_DEVICE void fetch_chunk(const SamplesOperands<S>& a, int64_t image, int64_t first_position, int tap,
                            const Run& piece, int chunk, int thread, Vector* rows, Vector* columns) {
  const DeformConvShape& s = a.from.shape;
  const int width = static_cast<int>(s.out_channels_per_group()), vector = thread % CHUNK_VECTORS;
  const int o = chunk * CHUNK<S> + vector * PER_VECTOR<S>, first_row = thread / CHUNK_VECTORS;
  constexpr int ROWS_AT_ONCE = THREADS / CHUNK_VECTORS;
  const int stride = static_cast<int>(s.out_channels);
  const int positions_left =
      static_cast<int>(s.positions() - first_position < BM ? s.positions() - first_position : BM);
  const S* grad = a.grad + (image * s.positions() + first_position) * s.out_channels + piece.group * width + o;
#pragma unroll
  for (int row = first_row; row < BM; row += ROWS_AT_ONCE) {
    const bool valid = o < width && row < positions_left;
    simt::copy_async(rows + row * ROW_STRIDE + vector, valid ? grad + row * stride : a.grad, valid);
  }
  const int64_t first_weight = tap * s.channels_per_group() + piece.begin - piece.group * s.channels_per_group();
  const S* weight = a.weight + first_weight * s.out_channels + piece.group * width + o;
#pragma unroll
  for (int row = first_row; row < PIECE; row += ROWS_AT_ONCE) {
    const bool valid = o < width && piece.begin + row < piece.end;
    simt::copy_async(columns + row * ROW_STRIDE + vector, valid ? weight + row * stride : a.weight, valid);
  }
}

// The four corners' values of four channels.
template <class S>
DCN_DEVICE void load_four_channels(const S* channels, const FullRecord& record, bool valid, float (&value)[4][4]) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    S part[4] = {};
    if (valid && record.at[k] >= 0) {
      if constexpr (sizeof(S) == 4) {
        const Vector v = simt::read_vector(channels + record.at[k]);
        memcpy(part, &v, sizeof(part));
      } else {
        const auto v = simt::read_half_vector(channels + record.at[k]);
        memcpy(part, &v, sizeof(part));
      }
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) value[k][e] = static_cast<float>(part[e]);
  }
}

// Adds four channels' gradients to one corner.
template <class S>
DCN_DEVICE void scatter(const SamplesOperands<S>& a, int64_t at, const float (&share)[4], float scale) {
  if (a.fixed == nullptr) {
    simt::add_four(a.grad_input + at, share);
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (share[e] - share[e] == 0.0f) {
      simt::add_fixed(a.fixed + at + e, simt::to_fixed(share[e] * scale));
    } else {
      simt::add_one(a.grad_input + at + e, share[e]);  // NaN and infinities add up the same in any order
    }
  }
}

// One warp, one position: lane l has channels 4 l .. 4 l + 3 of the piece.
template <class S>
DCN_DEVICE void give_on(const SamplesOperands<S>& a, int64_t image, const Run& piece, const FullRecord& record,
                        const float* staged, float (&sums)[NUM_SUMS], int lane, float scale) {
  const DeformConvShape& s = a.from.shape;
  const bool active = 4 * lane < piece.end - piece.begin;
  float d[4];
#pragma unroll
  for (int e = 0; e < 4; ++e) d[e] = active ? staged[4 * lane + e] : 0.0f;
  const int channel = piece.begin + 4 * lane;
  if (a.grad_offset != nullptr || a.grad_mask != nullptr) {
    float v[4][4], part[NUM_SUMS] = {};
    load_four_channels(a.from.image(image) + channel, record, active, v);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      part[0] += (v[2][e] - v[0][e]) * d[e];
      part[1] += (v[3][e] - v[1][e]) * d[e];
      part[2] += (v[1][e] - v[0][e]) * d[e];
      part[3] += (v[3][e] - v[2][e]) * d[e];
      part[4] += (record.weight[0] * v[0][e] + record.weight[1] * v[1][e] + record.weight[2] * v[2][e] +
                  record.weight[3] * v[3][e]) * d[e];
    }
#pragma unroll
    for (int i = 0; i < NUM_SUMS; ++i) part[i] = simt::lanes_sum(part[i]);
    if (lane == 0) {  // a position is always the same warp's
#pragma unroll
      for (int i = 0; i < NUM_SUMS; ++i) sums[i] += part[i];
    }
  }
  if (a.grad_input != nullptr && active) {
    const int64_t map = image * (s.height * s.width * s.channels);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (record.at[k] < 0 || record.weight[k] == 0.0f) continue;  // a corner of weight 0 has no share, as in MXNet
      float share[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) share[e] = record.weight[k] * (d[e] * record.mask);
      scatter(a, map + record.at[k] + channel, share, scale);
    }
  }
}

// Offset and mask gradients of one position, once all channels of its offset group are in.
template <class S>
DCN_DEVICE void finish_position(const SamplesOperands<S>& a, int64_t image, int offset_group, int tap, int64_t position,
                                const FullRecord& r, const float (&sums)[NUM_SUMS]) {
  const DeformConvShape& s = a.from.shape;
  if (position >= s.positions()) return;
  if (a.grad_offset != nullptr) {
    float* to =
        a.grad_offset + offset_index(image, offset_group, tap, position, s.offset_groups, s.taps(), s.positions());
    to[0] = r.inside ? ((1.0f - r.x) * sums[0] + r.x * sums[1]) * r.mask : 0.0f;
    to[s.positions()] = r.inside ? ((1.0f - r.y) * sums[2] + r.y * sums[3]) * r.mask : 0.0f;
  }
  if (a.grad_mask != nullptr) {
    a.grad_mask[mask_index(image, offset_group, tap, position, s.offset_groups, s.taps(), s.positions())] =
        r.inside ? sums[4] : 0.0f;
  }
}

template <class P, int BM>
DCN_DEVICE void samples_block(const SamplesOperands<typename P::Data>& a, SamplesShared<BM>& shared, int64_t block_x,
                              int tap) {
  using S = typename P::Data;
  const DeformConvShape& s = a.from.shape;
  const int thread = simt::thread(), warp = thread / 32;
  const int64_t tiles = (s.positions() + BM - 1) / BM, image = block_x / tiles, first_position = block_x % tiles * BM;
  const int chunks = static_cast<int>((s.out_channels_per_group() + CHUNK<S> - 1) / CHUNK<S>);
  const int per_offset_group = static_cast<int>(s.channels_per_offset_group());
  for (int channel = 0; channel < static_cast<int>(s.channels);) {
    const Run piece = piece_at(s, channel, PIECE);
    if (channel % per_offset_group == 0 && thread < BM) {  // the last offset group's were this same thread's to finish
      shared.records[thread] =
          full_record_of(a.from, image, piece.offset_group, tap, first_position + thread);
      for (int i = 0; i < NUM_SUMS; ++i) shared.sums[thread][i] = 0.0f;
    }
    {
      const auto fetch = [&](int chunk) {
        fetch_chunk<S, BM>(a, image, first_position, tap, piece, chunk, thread, shared.rows[chunk % 3],
                           shared.columns[chunk % 3]);
      };
      RowProduct<P, BM, PIECE> product;
      fetch(0);
      simt::commit_async();
      if (chunks > 1) fetch(1);
      simt::commit_async();
      for (int chunk = 0; chunk < chunks; ++chunk) {
        simt::wait_async<1>();
        simt::barrier();
        if (chunk + 2 < chunks) fetch(chunk + 2);
        simt::commit_async();
        product.step(shared.rows[chunk % 3], shared.columns[chunk % 3], thread);
      }
      simt::barrier();  // every copy has landed (the last groups are empty), and nobody reads the tiles any more:
                        // `staged` lies over them
      const auto one = [&](int row, int column, float sum) { shared.staged[row * STAGED_STRIDE + column] = sum; };
      for_results(product, thread, one, [&](int row, int column, float first, float second) {
        one(row, column, first);
        one(row, column + 1, second);
      });
    }
    simt::barrier();
    const float scale = a.fixed != nullptr ? ldexpf(1.0f, *a.exponent) : 1.0f;
#pragma unroll 1
    for (int row = warp; row < BM; row += WARPS) {
      const FullRecord& record = shared.records[row];
      if (record.inside) {
        give_on(a, image, piece, record, shared.staged + row * STAGED_STRIDE, shared.sums[row], thread % 32, scale);
      }
    }
    simt::barrier();  // the sums are complete, and the next piece may overwrite `staged`
    if (piece.end % per_offset_group == 0 && thread < BM) {
      finish_position(a, image, piece.offset_group, tap, first_position + thread, shared.records[thread],
                      shared.sums[thread]);
    }
    channel = piece.end;
  }
}

}  // namespace dcn::cuda::fused
