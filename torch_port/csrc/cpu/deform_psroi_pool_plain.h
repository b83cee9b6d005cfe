// deform_psroi_pool in plain loops over core's functions: the gradient of the input, which scatters, and what the
// vector kernels are tested against.
#pragma once

#include <vector>

#include "core/psroi_pool.h"
#include "cpu/deform_psroi_pool.h"

namespace dcn::cpu {

// Bin (row, column) of `channel` on both axes, moved by its offset.
template <class T>
Bin<T> bin_of(const DeformPsroiArrays<T>& a, const DeformPsroiRoi<T>& window, int64_t roi, int channel, int row,
              int column) {
  const int per_class = a.shape.output_dim / a.shape.num_classes;
  return moved_bin(a.shape, window, a.offset, a.trans_std, roi, channel / per_class, row, column, a.part_cells[row],
                   a.part_cells[column]);
}

// The plane of the input that bin (row, column) of `channel` reads.
template <class T>
const T* plane_of(const DeformPsroiArrays<T>& a, int image, int channel, int row, int column) {
  const int64_t cell = (static_cast<int64_t>(channel) * a.shape.group + a.group_cells[row]) * a.shape.group;
  return a.input + image * a.map.image + (cell + a.group_cells[column]) * a.map.channel;
}

template <class T>
int64_t output_element(const DeformPsroiArrays<T>& a, int64_t roi, int channel, int row, int column) {
  return roi * a.pooled.image + channel * a.pooled.channel + (row * a.shape.pooled + column) * a.pooled.place;
}

// Output rows [begin, end) of (RoI, output channel).
template <class T>
void deform_psroi_forward_plain(const DeformPsroiArrays<T>& a, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t roi = unit / s.output_dim;
    const int channel = static_cast<int>(unit % s.output_dim), image = roi_image(a.rois + roi * 5, s.num_images);
    const DeformPsroiRoi<T> window = deform_psroi_roi(a.rois + roi * 5, a.spatial_scale);
    for (int row = 0; row < s.pooled; ++row) {
      for (int column = 0; column < s.pooled; ++column) {
        T& output = a.output[output_element(a, roi, channel, row, column)];
        output = T(0);
        if (image < 0) continue;
        const auto [y_axis, x_axis] = bin_of(a, window, roi, channel, row, column);
        output = pool_bin(plane_of(a, image, channel, row, column), y_axis, x_axis, s.samples, s.height, s.width,
                          a.map.place);
      }
    }
  }
}

// grad_offset for rows [begin, end) of (RoI, offset class).
template <class T>
void deform_psroi_grad_offset_plain(const DeformPsroiArrays<T>& a, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  const int64_t part_size = static_cast<int64_t>(s.part) * s.part;
  const int channels_per_class = s.output_dim / s.num_classes;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t roi = unit / s.num_classes;
    const int image = roi_image(a.rois + roi * 5, s.num_images);
    if (image < 0) continue;
    const DeformPsroiRoi<T> window = deform_psroi_roi(a.rois + roi * 5, a.spatial_scale);
    const T per_y = product(window.y.extent, a.trans_std), per_x = product(window.x.extent, a.trans_std);
    const int first_channel = static_cast<int>(unit % s.num_classes) * channels_per_class;
    for (int channel = first_channel; channel < first_channel + channels_per_class; ++channel) {
      for (int row = 0; row < s.pooled; ++row) {
        for (int column = 0; column < s.pooled; ++column) {
          const T* plane = plane_of(a, image, channel, row, column);
          const auto [y_axis, x_axis] = bin_of(a, window, roi, channel, row, column);
          T sum_y = 0, sum_x = 0;
          int count = 0;
          for_each_sample(y_axis, x_axis, s.samples, s.height, s.width, [&](AxisSample<T> y, AxisSample<T> x) {
            const FourCorners<T> v = load_corners(plane, s.width, y, x, a.map.place);
            sum_x = total(sum_x, slope_x(v, y.fraction));
            sum_y = total(sum_y, slope_y(v, x.fraction));
            ++count;
          });
          if (count == 0) continue;
          const T upstream = a.output[output_element(a, roi, channel, row, column)];
          T* x = a.grad_offset + unit * 2 * part_size + a.part_cells[row] * s.part + a.part_cells[column];
          x[0] += sum_x / static_cast<T>(count) * per_x * upstream;
          x[part_size] += sum_y / static_cast<T>(count) * per_y * upstream;
        }
      }
    }
  }
}

// The samples of one axis of a bin that fall inside, in order.
template <class T>
struct InsideSamples {
  std::vector<AxisSample<T>> samples;
  int count = 0;

  explicit InsideSamples(int most) : samples(most) {}

  void fill(BinAxis<T> bin, int number, int size) {
    count = 0;
    for (int i = 0; i < number; ++i) {
      const AxisSample<T> sample = axis_sample(bin, static_cast<T>(i), size);
      if (sample.inside) samples[count++] = sample;
    }
  }
};

// Every RoI's image (-1: it is none) and place in the map, made once.
template <class T>
struct RoiWindows {
  std::vector<int> image;
  std::vector<DeformPsroiRoi<T>> window;

  explicit RoiWindows(const DeformPsroiArrays<T>& a) {
    for (int64_t roi = 0; roi < a.shape.num_rois; ++roi) {
      image.push_back(roi_image(a.rois + roi * 5, a.shape.num_images));
      window.push_back(deform_psroi_roi(a.rois + roi * 5, a.spatial_scale));
    }
  }
};

// Adds one bin's share to its plane, sample by sample.
template <class T>
void spread_bin(const DeformPsroiArrays<T>& a, const InsideSamples<T>& ys, const InsideSamples<T>& xs, T grad,
                T* plane) {
  const int64_t pixel = a.map.place, line = a.shape.width * pixel;
  for (int iy = 0; iy < ys.count; ++iy) {
    const AxisSample<T> y = ys.samples[iy];
    T *top = plane + y.low * line, *bottom = plane + y.high * line;
    for (int ix = 0; ix < xs.count; ++ix) {
      const AxisSample<T> x = xs.samples[ix];
      const FourCorners<T> w = corner_weights(y.fraction, x.fraction);
      top[x.low * pixel] += w.v00 * grad;
      bottom[x.low * pixel] += w.v10 * grad;
      top[x.high * pixel] += w.v01 * grad;
      bottom[x.high * pixel] += w.v11 * grad;
    }
  }
}

// Adds to the channels [begin, end) of the maps, whose planes no other thread touches: RoIs in order, so the result
// does not depend on the number of threads; plane by plane, so that each stays in cache. bins_of: bins_of_groups.
template <class T>
void deform_psroi_grad_input(const DeformPsroiArrays<T>& a, const RoiWindows<T>& rois,
                             const std::vector<CellRange>& bins_of, int64_t begin, int64_t end) {
  const DeformPsroiShape& s = a.shape;
  InsideSamples<T> ys(s.samples), xs(s.samples);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int channel = static_cast<int>(unit / (s.group * s.group));
    const CellRange rows = bins_of[unit / s.group % s.group], columns = bins_of[unit % s.group];
    for (int64_t roi = 0; roi < s.num_rois; ++roi) {
      if (rois.image[roi] < 0) continue;
      T* plane = a.grad_input + rois.image[roi] * a.map.image + unit * a.map.channel;
      for (int row = rows.begin; row < rows.end; ++row) {
        for (int column = columns.begin; column < columns.end; ++column) {
          const auto [y_axis, x_axis] = bin_of(a, rois.window[roi], roi, channel, row, column);
          ys.fill(y_axis, s.samples, s.height);
          xs.fill(x_axis, s.samples, s.width);
          if (ys.count == 0 || xs.count == 0) continue;
          const T grad = a.output[output_element(a, roi, channel, row, column)];
          spread_bin(a, ys, xs, grad / static_cast<T>(ys.count * xs.count), plane);
        }
      }
    }
  }
}

}  // namespace dcn::cpu
