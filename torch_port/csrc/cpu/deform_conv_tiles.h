// The fused kernels of deform_conv2d, compiled once per instruction set, and what they are handed.
//
// Maps are NHWC copies with `pitch` elements from pixel to pixel (a little more than the channels, so that pixels do
// not compete for the same cache sets) and one more pixel, of zeros, at the end of each image: corners beyond the map
// point there.
#pragma once

#include "cpu/deform_conv.h"

namespace dcn::cpu {

template <class T>
struct PixelMap {
  T* data;
  int64_t pixels;  // of an image, the additional one included
  int64_t pitch;
};

// How the columns of a multiplication are laid out: panels of `panel` columns, the last one of what is left, rounded
// up to `lanes`.
struct PanelLayout {
  int lanes, panel;

  DCN_MEMBER int64_t padded(int64_t columns) const { return (columns + lanes - 1) / lanes * lanes; }
};

// Where a tap's sample is and what it weighs; one per (position, tap, offset group).
template <class T>
struct SampleRecord {
  int32_t at[4];  // pixels of v00, v01, v10, v11
  T weight[4];    // in the forward pass times the mask
};

template <class T>
struct SampleSlopes {
  T y, x;  // fractions
  T mask;
  bool inside;
};

// Records and slopes are kept corner by corner for RECORDS positions at a time, as vector code finds them.
constexpr int64_t RECORDS = 16;
constexpr int64_t record_blocks(int64_t positions) { return (positions + RECORDS - 1) / RECORDS; }

template <class T>
struct SampleRecords {
  int32_t at[4][RECORDS];
  T weight[4][RECORDS];

  DCN_MEMBER static int32_t pixel(const SampleRecords* blocks, int64_t t, int corner) {
    return blocks[uint64_t(t) / RECORDS].at[corner][uint64_t(t) % RECORDS];
  }
  DCN_MEMBER static SampleRecord<T> get(const SampleRecords* blocks, int64_t t) {
    const SampleRecords& b = blocks[uint64_t(t) / RECORDS];
    const uint64_t i = uint64_t(t) % RECORDS;
    return {{b.at[0][i], b.at[1][i], b.at[2][i], b.at[3][i]},
            {b.weight[0][i], b.weight[1][i], b.weight[2][i], b.weight[3][i]}};
  }
};

template <class T>
struct SlopeRecords {
  T y[RECORDS], x[RECORDS], mask[RECORDS];
  int32_t inside[RECORDS];  // 0: not

  DCN_MEMBER static SampleSlopes<T> get(const SlopeRecords* blocks, int64_t t) {
    const SlopeRecords& b = blocks[uint64_t(t) / RECORDS];
    const uint64_t i = uint64_t(t) % RECORDS;
    return {b.y[i], b.x[i], b.mask[i], b.inside[i] != 0};
  }
};

// Consecutive channels that share weight group and offset group.
struct ChannelRun {
  int64_t weight_group, offset_group, channel, channels;
};

// Taps that are multiplied at once: a run of few channels is too short a sum for one product.
constexpr int64_t PRODUCT_DEPTH = 128;
DCN_HD int64_t taps_at_once(const ChannelRun& run) {
  return run.channels < PRODUCT_DEPTH ? PRODUCT_DEPTH / run.channels : 1;
}

// One image's tile of output positions: sampled run by run and tap by tap, so that what a run samples of the map stays
// in the second-level cache for all taps; multiplied in cache.
template <class T>
struct ForwardJob {
  DeformConvShape shape;
  Border border;
  PixelMap<const T> input;
  const T* offset;
  const T* mask;
  const ChannelRun* runs;
  int64_t num_runs;
  const T* weight;  // run by run, then by taps at once, then by panel: [taps][channels][panel's outputs]
  const T* bias;
  T* output;
  bool channels_last;  // of output
  int64_t tile;        // positions
};

template <class T>
struct ForwardSpace {
  SampleRecords<T>* records;  // [tile]
  T* columns;                 // [tile][column_pitch]
  T* sums;                    // [tile][sum_pitch]
  int64_t column_pitch, sum_pitch;
};

// A run of channels, and the taps of it that one worker does.
struct BackwardUnit : ChannelRun {
  int64_t padded, first_tap, last_tap;
};

template <class T>
struct BackwardJob {
  DeformConvShape shape;
  Border border;
  PixelMap<const T> input;
  PixelMap<const T> grad;  // [N][OH*OW][O]
  const T* offset;
  const T* mask;
  int64_t tile;
  bool want_input, want_slopes, want_mask, want_weight;
};

template <class T>
struct BackwardSpace {
  SampleRecords<T>* records;  // [tile]
  SlopeRecords<T>* slopes;    // [tile]
  T* columns;                 // [tile][padded]: samples
  T* column_grads;            // [tile][padded]
};

// One unit's own memory. weight, grad_weight: [K][O/groups][padded]; sums: [N][K][3][OH*OW] = y, x, mask.
template <class T>
struct BackwardTarget {
  const T* weight;
  T* grad_weight;
  T* sums;
  PixelMap<T> grad_input;
};

// cpu/simd/deform_conv_lanes.cpp
#define DCN_DECLARE(isa, T)                                                                                          \
  namespace isa {                                                                                                    \
  PanelLayout panel_layout(T);                                                                                       \
  void forward_tile(const ForwardJob<T>&, const ForwardSpace<T>&, int64_t image, int64_t first);                     \
  void backward_unit(const BackwardJob<T>&, const BackwardUnit&, const BackwardSpace<T>&, const BackwardTarget<T>&); \
  }
DCN_DECLARE(portable, float)
DCN_DECLARE(portable, double)
DCN_DECLARE(avx2, float)
DCN_DECLARE(avx2, double)
DCN_DECLARE(avx512, float)
DCN_DECLARE(avx512, double)
#undef DCN_DECLARE

// cpu/deform_conv_forward.cpp, cpu/deform_conv_backward.cpp: the fused kernels on all threads. channels_last: of input,
// output and grad_input; grad_last: of grad; other tensors are contiguous.
template <class T>
void tiled_deform_conv_forward(const DeformConvArrays<T>&, bool channels_last);
template <class T>
void tiled_deform_conv_backward(const DeformConvArrays<T>&, bool channels_last, bool grad_last);

}  // namespace dcn::cpu
