// deform_conv2d on the matrix unit: float32 data as split bfloat16, or bfloat16
// data; sums are float32.
#pragma once

#include "cpu/deform_conv_tiles.h"

namespace dcn::cpu {

using Bf16 = uint16_t;  // its bits

namespace amx {

constexpr int64_t TILE_ELEMENTS = 512;  // bfloat16 in a tile: 16 rows of 32

// A run of channels in steps of 32, the last one padded with zeros.
struct Segment : ChannelRun {
  int64_t steps;
  int64_t begin;  // forward: where its weights of a tap begin, in steps;
                  // backward: its first slot in grad_input's map
};

template <class T>
struct ForwardArguments {
  DeformConvShape shape;
  Border border;
  PixelMap<const T> input;
  const float* offset;
  const float* mask;
  const Bf16* weight;  // packed
  const T* bias;
  T* output;
  bool channels_last;  // of output
  int64_t tile;        // positions, a multiple of 32
  const Segment* segments;
  int64_t num_segments, steps;  // steps of all segments
};

struct ForwardScratch {
  SampleRecords<float>* records;  // [tile]
  Bf16* columns;                  // left matrix [tile][a segment's channels]
  float* sums;                    // results [tile][outputs]
};

template <class T>
struct BackwardArguments {
  DeformConvShape shape;
  Border border;
  PixelMap<const T> input;
  const float* offset;
  const float* mask;
  const Bf16* grad_rows;     // left matrices [N][groups][positions][outputs]
  const Bf16* grad_columns;  // left matrices [N][groups][outputs][positions]
  int64_t tile;              // positions, a multiple of 32
  bool want_input, want_slopes, want_mask, want_weight;
};

struct BackwardScratch {
  SampleRecords<float>* records;
  SlopeRecords<float>* slopes;
  float* column_grads;  // results [tile][channels]
  float* samples;       // [32][channels]
  Bf16* columns;        // right matrix [tile][channels]
};

// One segment's own memory for a range of taps. weight: right matrices
// [K][outputs][channels]; grad_weight: results [K][outputs][channels]; sums
// [N][K][3][OH*OW] = y, x, mask; grad_input: slots of its channels.
struct BackwardOwn {
  int64_t first_tap, last_tap;
  const Bf16* weight;
  float* grad_weight;
  float* sums;
  PixelMap<float> grad_input;
};

inline int64_t tiles16(int64_t count) { return (count + 15) / 16; }
inline int64_t steps32(int64_t count) { return (count + 31) / 32; }

// Weights [O, C/groups, K] of one segment, one group's column tile
// `column_tile` (of 16 outputs) -> its right matrices.
template <class T>
void pack_forward_weight(const DeformConvShape&, const T* weight, const Segment&, int64_t steps, int64_t column_tile,
                         Bf16* packed);
// ... of one segment and one tap -> right matrix [outputs][channels].
template <class T>
void pack_backward_weight(const DeformConvShape&, const T* weight, const Segment&, int64_t tap, Bf16* packed);
// One image's and one group's outputs [O/groups][positions] (or channels_last),
// 32 positions of them -> both matrices.
template <class T>
void pack_grad(const DeformConvShape&, const T* grad, bool channels_last, int64_t image, int64_t group, int64_t first,
               Bf16* rows, Bf16* columns);
// Results of one segment -> grad_weight [O, C/groups, K].
template <class T>
void unpack_grad_weight(const DeformConvShape&, const Segment&, const float* sums, int64_t row_tile, T* grad_weight);
// Slots of one segment, 16 pixels from `first`, summed over `copies` maps of
// `copy_size` floats -> grad_input.
template <class T>
void unpack_grad_input(const DeformConvShape&, const Segment&, PixelMap<const float> map, int64_t copies,
                       int64_t copy_size, int64_t image, int64_t first, bool channels_last, T* grad_input);

// Whether |value| lies between 2^-100 and 2^100 for the largest one, or all are
// 0: what splitting asks for. `largest` grows to the largest magnitude's bits;
// NaN and Inf are larger than all numbers.
void grow_largest(const float* values, int64_t count, uint32_t* largest);

template <class T>
void forward_tile(const ForwardArguments<T>&, const ForwardScratch&, int64_t image, int64_t first);
template <class T>
void backward_segment(const BackwardArguments<T>&, const Segment&, const BackwardScratch&, const BackwardOwn&);

// The matrix unit's registers, on the calling thread, while one works.
void begin_tiles();
void end_tiles();

}  // namespace amx

// cpu/deform_conv_amx_forward.cpp, cpu/deform_conv_amx_backward.cpp. False:
// nothing done, the values or the shape are none for this engine.
// channels_last: of input (and output); grad_last: of grad.
#if DCN_HAVE_AMX
template <class T>
bool amx_deform_conv_forward(const DeformConvArrays<T, float>&, bool channels_last);
template <class T>
bool amx_deform_conv_backward(const DeformConvArrays<T, float>&, bool channels_last, bool grad_last);
#else
template <class T>
bool amx_deform_conv_forward(const DeformConvArrays<T, float>&, bool) {
  return false;
}
template <class T>
bool amx_deform_conv_backward(const DeformConvArrays<T, float>&, bool, bool) {
  return false;
}
#endif

}  // namespace dcn::cpu
