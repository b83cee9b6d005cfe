// deform_conv2d backward for the weight, fused: a block makes BO output channels x a piece of the input channels at one
// tap, summed over its share of all images' positions: grad transposed times the samples, gathered again. Shares are
// added in order by a second kernel, so the sums repeat bit for bit.
#pragma once

#include "cuda/fused/sample.h"
#include "cuda/fused/sum_product.h"
#include "cuda/fused/walk.h"

namespace dcn::cuda::fused {

// grad [N, OH*OW, O]: output channels innermost. partial [splits, O, K, C/groups]: every element is written.
template <class S>
struct WeightOperands {
  Source<S> from;
  const S* grad;
  float* partial;
  int splits;
};

constexpr int WEIGHT_PIECE = 128;  // input channels of a block

template <class S, int BO>
struct WeightShared {
  Vector grads[3][DEPTH<S> * PITCH<S, BO>];
  Vector samples[2][DEPTH<S> * PITCH<S, WEIGHT_PIECE>];
  Record records[2][DEPTH<S>];
};

// DEPTH positions of one image.
struct Stretch {
  int64_t image, first_position;
};

template <class S>
DCN_HD int64_t stretches_per_image(const DeformConvShape& s) {
  return (s.positions() + DEPTH<S> - 1) / DEPTH<S>;
}
template <class S>
DCN_HD Stretch stretch_after(const DeformConvShape& s, Stretch stretch) {
  stretch.first_position += DEPTH<S>;
  return stretch.first_position < s.positions() ? stretch : Stretch{stretch.image + 1, 0};
}

template <class S, int BO>
DCN_DEVICE void fetch_grads(const WeightOperands<S>& a, const Stretch& stretch, int first_out, int end_out, int thread,
                            Vector* to) {
  constexpr int PER_ROW = BO / PER_VECTOR<S>, ROWS_AT_ONCE = THREADS / PER_ROW;
  const DeformConvShape& s = a.from.shape;
  const int vector = thread % PER_ROW, o = first_out + vector * PER_VECTOR<S>;
  const S* from = a.grad + (stretch.image * s.positions() + stretch.first_position) * s.out_channels + o;
#pragma unroll
  for (int row = thread / PER_ROW; row < DEPTH<S>; row += ROWS_AT_ONCE) {
    const bool valid = o < end_out && stretch.first_position + row < s.positions();
    simt::copy_async(to + row * PITCH<S, BO> + vector, valid ? from + row * s.out_channels : a.grad, valid);
  }
}

template <class S>
struct GatheredStretch {
  static constexpr int PER_ROW = WEIGHT_PIECE / PER_VECTOR<S>, ROWS_AT_ONCE = THREADS / PER_ROW;
  static constexpr int ITEMS = DEPTH<S> / ROWS_AT_ONCE;
  Corners corners[ITEMS];
};

template <class S>
DCN_DEVICE void gather_stretch(const WeightOperands<S>& a, const Stretch& stretch, const Run& piece,
                               const Record* records, int thread, GatheredStretch<S>& to) {
  using G = GatheredStretch<S>;
  const int channel = piece.begin + thread % G::PER_ROW * PER_VECTOR<S>;
  const S* channels = a.from.image(stretch.image) + channel;
#pragma unroll
  for (int r = 0; r < G::ITEMS; ++r) {
    const int row = thread / G::PER_ROW + r * G::ROWS_AT_ONCE;
    to.corners[r] = load_corners(channels, records[row].at, channel < piece.end);
  }
}

template <class S>
DCN_DEVICE void store_stretch(const GatheredStretch<S>& from, const Record* records, int thread, Vector* to) {
  using G = GatheredStretch<S>;
#pragma unroll
  for (int r = 0; r < G::ITEMS; ++r) {
    const int row = thread / G::PER_ROW + r * G::ROWS_AT_ONCE;
    to[row * PITCH<S, WEIGHT_PIECE> + thread % G::PER_ROW] = blend<S>(from.corners[r], records[row].weight);
  }
}

// block_y: tap and piece of all input channels, pieces innermost.
template <class P, int BO>
DCN_DEVICE void weight_block(const WeightOperands<typename P::Data>& a, WeightShared<typename P::Data, BO>& shared,
                             int block_x, int block_y, int split) {
  using S = typename P::Data;
  const DeformConvShape& s = a.from.shape;
  const int thread = simt::thread();
  const int pieces = count_pieces(s, 0, static_cast<int>(s.channels), WEIGHT_PIECE), tap = block_y / pieces;
  const Run piece = piece_number(s, 0, block_y % pieces, WEIGHT_PIECE);
  const int width = static_cast<int>(s.out_channels_per_group());
  const int first_out = piece.group * width + block_x * BO, end_out = (piece.group + 1) * width;
  const int64_t per_image = stretches_per_image<S>(s);
  const Share share = share_of(static_cast<int>(s.images * per_image), split, a.splits);
  const int steps = share.end - share.begin;
  const auto make_records = [&](const Stretch& stretch, Record* to) {
    if (thread < DEPTH<S>) {
      to[thread] = record_of(a.from, stretch.image, piece.offset_group, tap, stretch.first_position + thread);
    }
  };
  SumProduct<P, BO, WEIGHT_PIECE> product;

  const Stretch start = {share.begin / per_image, share.begin % per_image * DEPTH<S>};
  Stretch next = stretch_after<S>(s, start);
  make_records(start, shared.records[0]);
  if (steps > 1) make_records(next, shared.records[1]);
  fetch_grads<S, BO>(a, start, first_out, end_out, thread, shared.grads[0]);
  simt::commit_async();
  if (steps > 1) fetch_grads<S, BO>(a, next, first_out, end_out, thread, shared.grads[1]);
  simt::commit_async();
  simt::barrier();
  GatheredStretch<S> gathered;
  gather_stretch(a, start, piece, shared.records[0], thread, gathered);
  store_stretch<S>(gathered, shared.records[0], thread, shared.samples[0]);
  for (int it = 0; it < steps; ++it) {
    simt::wait_async<1>();
    simt::barrier();
    Stretch later = next;
    if (it + 2 < steps) {
      later = stretch_after<S>(s, next);
      fetch_grads<S, BO>(a, later, first_out, end_out, thread, shared.grads[(it + 2) % 3]);
    }
    simt::commit_async();
    if (it + 1 < steps) gather_stretch(a, next, piece, shared.records[(it + 1) % 2], thread, gathered);
    if (it + 2 < steps) make_records(later, shared.records[it % 2]);  // this step's were used up before the barrier
    product.step(shared.grads[it % 3], shared.samples[it % 2], thread);
    if (it + 1 < steps) store_stretch<S>(gathered, shared.records[(it + 1) % 2], thread, shared.samples[(it + 1) % 2]);
    next = later;
  }
  const int depth = static_cast<int>(s.channels_per_group());
  product.results(thread, [&](int row, int column, float sum) {
    const int o = first_out + row, channel = piece.begin + column;
    if (o >= end_out || channel >= piece.end) return;
    a.partial[((split * s.out_channels + o) * s.taps() + tap) * depth + (channel - piece.group * depth)] = sum;
  });
}

}  // namespace dcn::cuda::fused
