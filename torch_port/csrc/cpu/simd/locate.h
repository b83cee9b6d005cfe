// Where one tap samples, for a run of output positions. Cells and weights are
// core's.
#pragma once

#include "cpu/deform_conv_tiles.h"

namespace dcn::cpu::DCN_ISA {

// Fills the records of `count` positions from `first`, and the slopes where
// they are wanted.
template <class Border, class T>
static void locate(const DeformConvShape& s, const T* offset, const T* mask, int64_t image, int64_t group, int64_t tap,
                   int64_t first, int64_t count, bool weigh_mask, SampleRecord<T>* records, SampleSlopes<T>* slopes) {
  const int64_t positions = s.positions();
  const T* y_offset = offset + offset_index(image, group, tap, first, s.offset_groups, s.taps(), positions);
  const T* x_offset = y_offset + positions;
  const T* masks = mask ? mask + mask_index(image, group, tap, first, s.offset_groups, s.taps(), positions) : nullptr;
  const int i = static_cast<int>(tap / s.kernel_w), j = static_cast<int>(tap % s.kernel_w);
  int row = static_cast<int>(first / s.out_width), column = static_cast<int>(first % s.out_width);
  for (int64_t t = 0; t < count; ++t) {
    const BilinearCell<T> cell = deform_conv_cell<Border>(s, row, column, i, j, y_offset[t], x_offset[t]);
    const FourCorners<T> w = bilinear_weights(cell);
    const FourCorners<int64_t> at = bilinear_addresses(cell, s.width, 1, s.height * s.width);
    const T scale = masks && cell.inside() ? masks[t] : T(1);
    const T factor = weigh_mask ? scale : T(1);
    records[t] = {{int32_t(at.v00), int32_t(at.v01), int32_t(at.v10), int32_t(at.v11)},
                  {w.v00 * factor, w.v01 * factor, w.v10 * factor, w.v11 * factor}};
    if (slopes) slopes[t] = {cell.y.fraction, cell.x.fraction, scale, cell.inside()};
    if (++column == s.out_width) {
      column = 0;
      ++row;
    }
  }
}

template <class T>
static void locate(Border border, const DeformConvShape& s, const T* offset, const T* mask, int64_t image,
                   int64_t group, int64_t tap, int64_t first, int64_t count, bool weigh_mask, SampleRecord<T>* records,
                   SampleSlopes<T>* slopes) {
  if (border == Border::clamp) {
    locate<ClampBorder>(s, offset, mask, image, group, tap, first, count, weigh_mask, records, slopes);
  } else {
    locate<ZerosBorder>(s, offset, mask, image, group, tap, first, count, weigh_mask, records, slopes);
  }
}

}  // namespace dcn::cpu::DCN_ISA
