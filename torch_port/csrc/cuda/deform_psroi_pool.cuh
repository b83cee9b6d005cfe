// Kernels of deform_psroi_pool, one thread per result; the arithmetic is core/deform_psroi_pool.h, as on the CPU.
// S: type of the maps, T: float or double, type of coordinates and sums.
#pragma once

#include "core/deform_psroi_pool.h"
#include "cuda/launch.h"

namespace dcn::cuda {

template <class S, class T>
struct DeformPsroiArrays {
  DeformPsroiShape shape;
  T spatial_scale, trans_std;
  const S* input;   // [N, channels, H, W]
  const T* rois;    // [R, 5]
  const T* offset;  // [R, 2 * classes, part, part] or null
};

// Bin (row, column) of output channel `channel`, moved by its offset.
template <class S, class T>
__device__ Bin<T> bin_of(const DeformPsroiArrays<S, T>& a, int64_t roi, int channel, int row, int column) {
  const DeformPsroiShape& s = a.shape;
  const DeformPsroiRoi<T> window = deform_psroi_roi(a.rois + roi * 5, a.spatial_scale);
  return moved_bin(s, window, a.offset, a.trans_std, roi, channel / (s.output_dim / s.num_classes), row, column,
                   part_cell<T>(row, s.pooled, s.part), part_cell<T>(column, s.pooled, s.part));
}

// Offset of the plane that bin (row, column) of `channel` reads.
template <class T>
__device__ int64_t plane_offset(const DeformPsroiShape& s, int image, int channel, int row, int column) {
  const int64_t c = (static_cast<int64_t>(channel) * s.group + group_cell<T>(row, s.pooled, s.group)) * s.group +
                    group_cell<T>(column, s.pooled, s.group);
  return (static_cast<int64_t>(image) * s.channels + c) * s.height * s.width;
}

// (RoI, channel, row, column) of element i of the output.
struct OutputIndex {
  int64_t roi;
  int channel, row, column;
};
__device__ __forceinline__ OutputIndex output_index(int64_t i, int channels, int pooled) {
  OutputIndex at;
  at.column = static_cast<int>(i % pooled);
  at.row = static_cast<int>(i / pooled % pooled);
  i /= static_cast<int64_t>(pooled) * pooled;
  at.channel = static_cast<int>(i % channels);
  at.roi = i / channels;
  return at;
}

template <class S, class T>
__global__ void deform_psroi_forward(DeformPsroiArrays<S, T> a, S* output, int64_t count) {
  const DeformPsroiShape& s = a.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const OutputIndex at = output_index(i, s.output_dim, s.pooled);
    const int image = roi_image(a.rois + at.roi * 5, s.num_images);
    T value = 0;
    if (image >= 0) {
      const Bin<T> bin = bin_of(a, at.roi, at.channel, at.row, at.column);
      const S* plane = a.input + plane_offset<T>(s, image, at.channel, at.row, at.column);
      value = pool_bin(plane, bin.y, bin.x, s.samples, s.height, s.width);
    }
    output[i] = static_cast<S>(value);
  }
}

// One thread per element of grad; sums by atomicAdd, in no fixed order.
template <class S, class T>
__global__ void deform_psroi_grad_input_atomic(DeformPsroiArrays<S, T> a, const S* grad, T* grad_input,
                                               int64_t count) {
  const DeformPsroiShape& s = a.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const OutputIndex at = output_index(i, s.output_dim, s.pooled);
    const int image = roi_image(a.rois + at.roi * 5, s.num_images);
    if (image < 0) continue;
    const Bin<T> bin = bin_of(a, at.roi, at.channel, at.row, at.column);
    const int inside =
        samples_inside(bin.y, s.samples, s.height) * samples_inside(bin.x, s.samples, s.width);
    if (inside == 0) continue;
    const T share = static_cast<T>(grad[i]) / static_cast<T>(inside);
    T* plane = grad_input + plane_offset<T>(s, image, at.channel, at.row, at.column);
    for_each_sample(bin.y, bin.x, s.samples, s.height, s.width, [&](AxisSample<T> y, AxisSample<T> x) {
      const FourCorners<T> w = corner_weights(y.fraction, x.fraction);
      T* top = plane + y.low * s.width;
      T* bottom = plane + y.high * s.width;
      atomicAdd(top + x.low, w.v00 * share);
      if (y.high != y.low) atomicAdd(bottom + x.low, w.v10 * share);  // without a second row its weight is 0
      if (x.high != x.low) {
        atomicAdd(top + x.high, w.v01 * share);
        if (y.high != y.low) atomicAdd(bottom + x.high, w.v11 * share);
      }
    });
  }
}

// One thread per input element, which looks for its samples in the CPU's order: the same sums, whatever the grid.
template <class S, class T>
__global__ void deform_psroi_grad_input_ordered(DeformPsroiArrays<S, T> a, const S* grad, T* grad_input,
                                                int64_t count) {
  const DeformPsroiShape& s = a.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int px = static_cast<int>(i % s.width), py = static_cast<int>(i / s.width % s.height);
    const int64_t plane = i / s.width / s.height;
    const int image = static_cast<int>(plane / s.channels), map = static_cast<int>(plane % s.channels);
    const int channel = map / (s.group * s.group), group_row = map / s.group % s.group, group_column = map % s.group;
    T sum = 0;
    for (int64_t roi = 0; roi < s.num_rois; ++roi) {
      if (roi_image(a.rois + roi * 5, s.num_images) != image) continue;
      for (int cell = 0; cell < s.pooled * s.pooled; ++cell) {
        const int row = cell / s.pooled, column = cell % s.pooled;
        if (group_cell<T>(row, s.pooled, s.group) != group_row) continue;
        if (group_cell<T>(column, s.pooled, s.group) != group_column) continue;
        const Bin<T> bin = bin_of(a, roi, channel, row, column);
        const int inside =
            samples_inside(bin.y, s.samples, s.height) * samples_inside(bin.x, s.samples, s.width);
        if (inside == 0) continue;
        const int64_t at = ((roi * s.output_dim + channel) * s.pooled + row) * s.pooled + column;
        const T share = static_cast<T>(grad[at]) / static_cast<T>(inside);
        for_each_sample(bin.y, bin.x, s.samples, s.height, s.width, [&](AxisSample<T> y, AxisSample<T> x) {
          const FourCorners<T> w = corner_weights(y.fraction, x.fraction);
          if (y.low == py && x.low == px) sum = total(sum, product(w.v00, share));
          if (y.high == py && x.low == px) sum = total(sum, product(w.v10, share));
          if (y.low == py && x.high == px) sum = total(sum, product(w.v01, share));
          if (y.high == py && x.high == px) sum = total(sum, product(w.v11, share));
        });
      }
    }
    grad_input[i] = sum;
  }
}

// One thread per (RoI, class, part row, part column): both components, over the class's channels and bins in order.
template <class S, class T>
__global__ void deform_psroi_grad_offset(DeformPsroiArrays<S, T> a, const S* grad, T* grad_offset, int64_t count) {
  const DeformPsroiShape& s = a.shape;
  const int64_t part_size = static_cast<int64_t>(s.part) * s.part;
  const int per_class = s.output_dim / s.num_classes;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int part_row = static_cast<int>(i % part_size / s.part), part_column = static_cast<int>(i % s.part);
    const int64_t row_of_offset = i / part_size, roi = row_of_offset / s.num_classes;
    const int offset_class = static_cast<int>(row_of_offset % s.num_classes);
    const int image = roi_image(a.rois + roi * 5, s.num_images);
    T sum_x = 0, sum_y = 0;
    if (image >= 0) {
      const DeformPsroiRoi<T> window = deform_psroi_roi(a.rois + roi * 5, a.spatial_scale);
      const T per_x = product(window.x.extent, a.trans_std), per_y = product(window.y.extent, a.trans_std);
      for (int channel = offset_class * per_class; channel < (offset_class + 1) * per_class; ++channel) {
        for (int cell = 0; cell < s.pooled * s.pooled; ++cell) {
          const int row = cell / s.pooled, column = cell % s.pooled;
          if (part_cell<T>(row, s.pooled, s.part) != part_row) continue;
          if (part_cell<T>(column, s.pooled, s.part) != part_column) continue;
          const Bin<T> bin = bin_of(a, roi, channel, row, column);
          const S* plane = a.input + plane_offset<T>(s, image, channel, row, column);
          T rise_x = 0, rise_y = 0;
          int inside = 0;
          for_each_sample(bin.y, bin.x, s.samples, s.height, s.width, [&](AxisSample<T> y, AxisSample<T> x) {
            const FourCorners<T> v = load_corners(plane, s.width, y, x);
            rise_x = total(rise_x, slope_x(v, y.fraction));
            rise_y = total(rise_y, slope_y(v, x.fraction));
            ++inside;
          });
          if (inside == 0) continue;  // no gradient, whatever comes from above, NaN included
          const T n = static_cast<T>(inside);
          const T from_above =
              static_cast<T>(grad[((roi * s.output_dim + channel) * s.pooled + row) * s.pooled + column]);
          sum_x = total(sum_x, product(product(rise_x / n, per_x), from_above));
          sum_y = total(sum_y, product(product(rise_y / n, per_y), from_above));
        }
      }
    }
    T* x = grad_offset + row_of_offset * 2 * part_size + i % part_size;
    x[0] = sum_x;
    x[part_size] = sum_y;
  }
}

}  // namespace dcn::cuda
