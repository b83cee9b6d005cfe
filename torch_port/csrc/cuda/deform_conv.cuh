// What the CUDA kernels of deform_conv2d are handed, and how they find a sample; the arithmetic is core/deform_conv.h,
// as on the CPU. S: type of the maps; T: float or double, type of coordinates, masks and sums.
#pragma once

#include "core/deform_conv.h"

namespace dcn::cuda {

// Contiguous arrays. Null: mask and bias where there is none, every gradient that nobody asked for.
template <class S, class T>
struct DeformConvArrays {
  DeformConvShape shape;
  Border border;
  const S* input;   // [N, C, H, W]
  const T* offset;  // [N, G*K*2, OH, OW]
  const T* mask;    // [N, G*K, OH, OW]
  const S* weight;  // [O, C/groups, K]
  const S* bias;    // [O]
  const S* grad;    // [N, O, OH, OW]
  S* output;        // [N, O, OH, OW]
  T* grad_input;    // zero-filled: the kernels add to it
  T* grad_offset;
  T* grad_mask;
  T* grad_weight;
};

// One tap of one output position in one offset group: its cell and its mask.
template <class T>
struct Sample {
  BilinearCell<T> cell;
  T mask;
};

// offset, mask: arrays, or what reads like one. The rule outside the map is a value here: it costs one branch that all
// threads take, and halves the kernels.
template <class T, class Offset, class Mask>
DCN_HD Sample<T> sample_at(const DeformConvShape& s, Border border, const Offset& offset, const Mask& mask,
                           bool has_mask, int64_t image, int64_t group, int tap, int64_t position) {
  const bool small = position <= INT32_MAX;  // 64-bit divisions are slow on a GPU
  const int width = static_cast<int>(s.out_width), i = tap / s.kernel_w, j = tap % s.kernel_w;
  const int row = small ? static_cast<int>(position) / width : static_cast<int>(position / width);
  const int column = static_cast<int>(position - static_cast<int64_t>(row) * width);
  const int64_t at = offset_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions());
  const int64_t at_mask = mask_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions());
  const T y = offset[at], x = offset[at + s.positions()];
  return {border == Border::clamp ? deform_conv_cell<ClampBorder>(s, row, column, i, j, y, x)
                                  : deform_conv_cell<ZerosBorder>(s, row, column, i, j, y, x),
          has_mask ? static_cast<T>(mask[at_mask]) : T(1)};
}

}  // namespace dcn::cuda
