// Deformable position-sensitive RoI pooling, MXNet 1.9.1 `_contrib_DeformablePSROIPooling`: the arithmetic of one
// bin, forward and backward. Host and device, no torch header. S is the data type, T (float or double) that of the
// coordinates and sums.
#pragma once

#include "core/roi_axis.h"

namespace dcn {

struct DeformPsroiShape {
  int num_images, channels, height, width;
  int num_rois, output_dim, group, pooled, part, samples;
  int num_classes;  // of offset: each serves output_dim / num_classes consecutive channels; 1 without offset
};

template <class T>
struct DeformPsroiRoi {
  RoiAxis<T> x, y;
};

template <class T>
DCN_HD DeformPsroiRoi<T> deform_psroi_roi(const T* roi, T spatial_scale) {
  return {position_sensitive_axis(roi[1], roi[3], spatial_scale, T(0.5)),
          position_sensitive_axis(roi[2], roi[4], spatial_scale, T(0.5))};
}

// The cell of the offset map that moves bin `bin`; float arithmetic as in MXNet, so that uneven sizes agree.
template <class T>
DCN_HD int part_cell(int bin, int pooled, int part) {
  const int cell = static_cast<int>(product(static_cast<T>(bin) / static_cast<T>(pooled), static_cast<T>(part)));
  return cell > part - 1 ? part - 1 : cell;
}

// Samples of one bin on one axis: sample i lies at first + i * step, the left edge of its sub-bin.
template <class T>
struct BinAxis {
  T first;
  T step;
};

// shift: offset * trans_std, in RoI extents.
template <class T>
DCN_HD BinAxis<T> bin_axis(RoiAxis<T> roi, T bin, T pooled, T samples, T shift) {
  const T bin_extent = roi.extent / pooled;
  const T first = total(product(bin, bin_extent), roi.start);
  return {total(first, product(shift, roi.extent)), bin_extent / samples};
}

template <class T>
struct Bin {
  BinAxis<T> y, x;
};

// Bin (row, column) of a RoI for the channels of offset class `offset_class`, moved by its offset (none: null) in cell
// (part_row, part_column). offset: [R, 2 * classes, part, part].
template <class T>
DCN_HD Bin<T> moved_bin(const DeformPsroiShape& s, const DeformPsroiRoi<T>& window, const T* offset, T trans_std,
                        int64_t roi, int offset_class, int row, int column, int part_row, int part_column) {
  T shift_y = 0, shift_x = 0;
  if (offset != nullptr) {
    const int64_t part_size = static_cast<int64_t>(s.part) * s.part;
    const T* x = offset + (roi * s.num_classes + offset_class) * 2 * part_size +
                 static_cast<int64_t>(part_row) * s.part + part_column;
    shift_x = product(x[0], trans_std);
    shift_y = product(x[part_size], trans_std);
  }
  const T pooled = static_cast<T>(s.pooled), samples = static_cast<T>(s.samples);
  return {bin_axis(window.y, static_cast<T>(row), pooled, samples, shift_y),
          bin_axis(window.x, static_cast<T>(column), pooled, samples, shift_x)};
}

// Where one sample falls on one axis. Clamped to [0, size - 1]; on an integer low == high and fraction == 0.
template <class T>
struct AxisSample {
  int low, high;
  T fraction;
  bool inside;
};

template <class T>
DCN_HD AxisSample<T> axis_sample(BinAxis<T> bin, T sample, int size) {
  const T position = total(bin.first, product(sample, bin.step));
  const T last = static_cast<T>(size - 1);
  const bool inside = position >= T(-0.5) && position <= last + T(0.5);  // false for NaN
  T clamped = inside ? position : T(0);
  clamped = clamped < T(0) ? T(0) : clamped;
  clamped = clamped > last ? last : clamped;
  const int low = static_cast<int>(clamped);  // floor: clamped >= 0
  const T fraction = clamped - static_cast<T>(low);
  return {low, low + (fraction > T(0) ? 1 : 0), fraction, inside};
}

template <class T>
DCN_HD int samples_inside(BinAxis<T> bin, int samples, int size) {
  int inside = 0;
  for (int i = 0; i < samples; ++i) inside += axis_sample(bin, static_cast<T>(i), size).inside ? 1 : 0;
  return inside;
}

// stride_x: elements from one column to the next.
template <class S, class T>
DCN_HD FourCorners<T> load_corners(const S* plane, int width, AxisSample<T> y, AxisSample<T> x, int64_t stride_x = 1) {
  const int top = y.low * width, bottom = y.high * width;
  return {static_cast<T>(plane[(top + x.low) * stride_x]), static_cast<T>(plane[(top + x.high) * stride_x]),
          static_cast<T>(plane[(bottom + x.low) * stride_x]), static_cast<T>(plane[(bottom + x.high) * stride_x])};
}

// Weights of the four corners, and the sum in MXNet's order (down the left column, then the right one).
template <class T>
DCN_HD FourCorners<T> corner_weights(T fraction_y, T fraction_x) {
  const T left = T(1) - fraction_x, upper = T(1) - fraction_y;
  return {product(left, upper), product(fraction_x, upper), product(left, fraction_y), product(fraction_x, fraction_y)};
}

template <class T>
DCN_HD T interpolate(FourCorners<T> v, FourCorners<T> w) {
  return total(total(total(product(w.v00, v.v00), product(w.v10, v.v10)), product(w.v01, v.v01)),
               product(w.v11, v.v11));
}

// Slope of the sample per feature pixel. Where low == high the corners are equal and it is exactly 0.
template <class T>
DCN_HD T slope_x(FourCorners<T> v, T fraction_y) {
  return total(product(v.v11 - v.v10, fraction_y), product(v.v01 - v.v00, T(1) - fraction_y));
}
template <class T>
DCN_HD T slope_y(FourCorners<T> v, T fraction_x) {
  return total(product(v.v11 - v.v01, fraction_x), product(v.v10 - v.v00, T(1) - fraction_x));
}

// f(AxisSample y, AxisSample x) for each sample of the bin that falls inside, row by row.
template <class T, class F>
DCN_HD void for_each_sample(BinAxis<T> bin_y, BinAxis<T> bin_x, int samples, int height, int width, F f) {
  for (int iy = 0; iy < samples; ++iy) {
    const AxisSample<T> y = axis_sample(bin_y, static_cast<T>(iy), height);
    if (!y.inside) continue;
    for (int ix = 0; ix < samples; ++ix) {
      const AxisSample<T> x = axis_sample(bin_x, static_cast<T>(ix), width);
      if (x.inside) f(y, x);
    }
  }
}

// The bin's output from its plane (channel): mean over the samples inside, 0 when there is none.
template <class S, class T>
DCN_HD T pool_bin(const S* plane, BinAxis<T> bin_y, BinAxis<T> bin_x, int samples, int height, int width,
                  int64_t stride_x = 1) {
  T sum = 0;
  int count = 0;
  for_each_sample(bin_y, bin_x, samples, height, width, [&](AxisSample<T> y, AxisSample<T> x) {
    sum = total(sum, interpolate(load_corners(plane, width, y, x, stride_x), corner_weights(y.fraction, x.fraction)));
    ++count;
  });
  return count == 0 ? T(0) : sum / static_cast<T>(count);
}

}  // namespace dcn
