// Deformable convolution (Dai et al. 2017, eq. 2; with a mask Zhu et al. 2019, eq. 1): which input pixel a tap of the
// kernel samples, and what one sample gives forward and backward. Host and device, no torch header.
//
// Axis letters: N images, C channels, H W input, O output channels, OH OW output, K = kh*kw taps (row-major),
// G offset groups (C/G consecutive channels share offsets), weight groups (C/groups channels each).
// offset [N, G*K*2, OH, OW]: y first, then x. mask [N, G*K, OH, OW].
#pragma once

#include "core/bilinear.h"

namespace dcn {

struct DeformConvShape {
  int64_t images, channels, height, width;
  int64_t out_channels, out_height, out_width;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int groups, offset_groups;

  DCN_MEMBER int64_t taps() const { return int64_t(kernel_h) * kernel_w; }
  DCN_MEMBER int64_t positions() const { return out_height * out_width; }
  DCN_MEMBER int64_t channels_per_group() const { return channels / groups; }
  DCN_MEMBER int64_t out_channels_per_group() const { return out_channels / groups; }
  DCN_MEMBER int64_t channels_per_offset_group() const { return channels / offset_groups; }
};

// floor((size + 2*pad - dilation*(kernel-1) - 1) / stride) + 1; not positive: the kernel does not fit.
DCN_HD int64_t convolved_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  const int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

// Position on one axis that tap `tap` of output `out` samples. One sum after an integer, as in MXNet 1.9.1, so that
// every back end and both frameworks fall into the same cell.
template <class T>
DCN_HD T sampling_position(int out, int stride, int pad, int tap, int dilation, T offset) {
  return static_cast<T>(out * stride - pad + tap * dilation) + offset;
}

// Element of `offset` that holds y of (image, group, tap, position); x follows `positions` further on.
DCN_HD int64_t offset_index(int64_t image, int64_t group, int64_t tap, int64_t position, int64_t offset_groups,
                            int64_t taps, int64_t positions) {
  return (((image * offset_groups + group) * taps + tap) * 2) * positions + position;
}
DCN_HD int64_t mask_index(int64_t image, int64_t group, int64_t tap, int64_t position, int64_t offset_groups,
                          int64_t taps, int64_t positions) {
  return ((image * offset_groups + group) * taps + tap) * positions + position;
}

// The rule outside the map, by name; f(ClampBorder()) or f(ZerosBorder()).
enum class Border { clamp, zeros };

template <class F>
inline void with_border(Border border, F f) {
  if (border == Border::clamp) {
    f(ClampBorder());
  } else {
    f(ZerosBorder());
  }
}

// The cell that tap (i, j) of output (row, column) samples. y_offset and x_offset: from `offset`.
template <class Border, class T>
DCN_HD BilinearCell<T> deform_conv_cell(const DeformConvShape& s, int row, int column, int i, int j, T y_offset,
                                        T x_offset) {
  const T y = sampling_position(row, s.stride_h, s.pad_h, i, s.dilation_h, y_offset);
  const T x = sampling_position(column, s.stride_w, s.pad_w, j, s.dilation_w, x_offset);
  return bilinear_cell<Border>(y, x, static_cast<int>(s.height), static_cast<int>(s.width));
}

// What one (sample, channel) adds to the gradients of its offset (y, x) and mask. column_grad: gradient of the sample
// after the mask. An empty cell adds exactly 0, whatever comes from above.
template <class T>
struct SampleGradient {
  T y, x, mask;
};

template <class T>
DCN_HD SampleGradient<T> sample_gradient(const FourCorners<T>& v, const BilinearCell<T>& cell, T mask, T column_grad) {
  if (!cell.inside()) return {T(0), T(0), T(0)};
  const T masked = column_grad * mask;
  return {bilinear_slope_y(v, cell) * masked, bilinear_slope_x(v, cell) * masked,
          bilinear_value(v, bilinear_weights(cell)) * column_grad};
}

}  // namespace dcn
