// psroi_pool on the CPU: schema, checks, threads. The arithmetic is core/psroi_pool.h.
#include "core/psroi_pool.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cpu/roi_maps.h"

namespace dcn::cpu {
namespace {

constexpr const char* NAME = "psroi_pool";

// Every RoI's image (-1: it is none) and the cells of its bins on both axes [R, P], made once.
struct RoiBins {
  std::vector<int> image;
  std::vector<CellRange> rows, columns;

  template <class T>
  RoiBins(const PsroiShape& s, T spatial_scale, const T* rois) {
    check_images(NAME, rois, s.num_rois, s.num_images);
    for (int64_t roi = 0; roi < s.num_rois; ++roi, rois += 5) {
      image.push_back(roi_image(rois, s.num_images));
      const PsroiRoi<T> window = psroi_roi(rois, spatial_scale);
      for (int bin = 0; bin < s.pooled; ++bin) {
        rows.push_back(psroi_cells(window.y, bin, s.pooled, s.height));
        columns.push_back(psroi_cells(window.x, bin, s.pooled, s.width));
      }
    }
  }
};

// One call in memory. maps: [N, C, H, W], or its gradient; pooled: [R, D, P, P], or its gradient.
template <class T>
struct PsroiArrays {
  PsroiShape shape;
  Strides map_strides, pooled_strides;
  T* maps;
  T* pooled;
};

// Sums of four planes at once: each is one chain of additions in MXNet's order, four chains hide its latency.
template <class T, class Pixel>
void mean_of_four(const T* plane, int64_t stride, Pixel pixel, CellRange rows, CellRange columns, int width, T* output,
                  int64_t output_stride) {
  const int area = rows.size() * columns.size();
  T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int y = rows.begin; y < rows.end; ++y) {
    const T* p = plane + (static_cast<int64_t>(y) * width + columns.begin) * pixel;
    for (int x = columns.begin; x < columns.end; ++x, p += pixel) {
      s0 += p[0];
      s1 += p[stride];
      s2 += p[2 * stride];
      s3 += p[3 * stride];
    }
  }
  const T sums[4] = {s0, s1, s2, s3};
  for (int i = 0; i < 4; ++i) output[i * output_stride] = area ? sums[i] / static_cast<T>(area) : T(0);
}

// Output channels [first, last) of one RoI.
template <class T, class Pixel>
void pool_roi(const PsroiArrays<T>& a, const RoiBins& bins, Pixel pixel, int64_t roi, int64_t first, int64_t last) {
  const PsroiShape& s = a.shape;
  const int64_t group_stride = a.map_strides.channel, channel_stride = group_stride * s.group * s.group;
  const int64_t output_stride = a.pooled_strides.channel;
  const CellRange *all_rows = bins.rows.data() + roi * s.pooled, *all_columns = bins.columns.data() + roi * s.pooled;
  const T* image = a.maps + std::max(bins.image[roi], 0) * a.map_strides.image;
  T* output = a.pooled + roi * a.pooled_strides.image;
  for (int bin = 0; bin < s.pooled * s.pooled; ++bin) {
    const int bin_y = bin / s.pooled, bin_x = bin % s.pooled;
    const CellRange rows = bins.image[roi] < 0 ? CellRange{0, 0} : all_rows[bin_y], columns = all_columns[bin_x];
    const int group = group_cell<T>(bin_y, s.pooled, s.group) * s.group + group_cell<T>(bin_x, s.pooled, s.group);
    const T* planes = image + group * group_stride;
    T* to = output + bin * a.pooled_strides.place;
    int64_t c = first;
    for (; c + 4 <= last; c += 4) {
      mean_of_four(planes + c * channel_stride, channel_stride, pixel, rows, columns, s.width, to + c * output_stride,
                   output_stride);
    }
    for (; c < last; ++c) {
      to[c * output_stride] = psroi_mean<T, T>(planes + c * channel_stride, rows, columns, s.width, pixel);
    }
  }
}

// Adds one bin's share to the cells of one plane.
template <class T, class Pixel>
void spread_bin(T* plane, CellRange rows, CellRange columns, int width, Pixel pixel, T share) {
  for (int y = rows.begin; y < rows.end; ++y) {
    T* line = plane + static_cast<int64_t>(y) * width * pixel;
    for (int x = columns.begin; x < columns.end; ++x) line[x * pixel] += share;
  }
}

// Adds to the planes of (output channel, group row) in [begin, end): no other thread touches them, and each sees the
// RoIs in order, so the result does not depend on the number of threads. RoIs outermost: a bin's loops are as long for
// every channel, which branch prediction thrives on. bins_of: bins_of_groups.
template <class T, class Pixel>
void spread(const PsroiArrays<T>& a, const RoiBins& bins, const std::vector<CellRange>& bins_of, Pixel pixel,
            int64_t begin, int64_t end) {
  const PsroiShape& s = a.shape;
  for (int64_t roi = 0; roi < s.num_rois; ++roi) {
    if (bins.image[roi] < 0) continue;
    const CellRange *rows = bins.rows.data() + roi * s.pooled, *columns = bins.columns.data() + roi * s.pooled;
    for (int64_t unit = begin; unit < end; ++unit) {
      const CellRange bin_rows = bins_of[unit % s.group];
      T* planes = a.maps + bins.image[roi] * a.map_strides.image + unit * s.group * a.map_strides.channel;
      const T* above = a.pooled + roi * a.pooled_strides.image + unit / s.group * a.pooled_strides.channel;
      for (int y = bin_rows.begin; y < bin_rows.end; ++y) {
        for (int group = 0; group < s.group; ++group) {
          for (int x = bins_of[group].begin; x < bins_of[group].end; ++x) {
            const int area = rows[y].size() * columns[x].size();
            if (area == 0) continue;
            const T share = above[(y * s.pooled + x) * a.pooled_strides.place] / static_cast<T>(area);
            spread_bin(planes + group * a.map_strides.channel, rows[y], columns[x], s.width, pixel, share);
          }
        }
      }
    }
  }
}

template <class T>
void run_forward(const PsroiArrays<T>& a, const RoiBins& bins) {
  const int64_t channels = a.shape.output_dim;
  with_pixel(a.map_strides, [&](auto pixel) {
    torch::stable::parallel_for(0, a.shape.num_rois * channels, 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end;) {
        const int64_t roi = row / channels, last = std::min(channels, end - roi * channels);
        pool_roi(a, bins, pixel, roi, row % channels, last);
        row = roi * channels + last;
      }
    });
  });
}

template <class T>
void run_backward(const PsroiArrays<T>& a, const RoiBins& bins) {
  const int64_t units = static_cast<int64_t>(a.shape.output_dim) * a.shape.group;
  const std::vector<CellRange> bins_of = bins_of_groups<T>(a.shape.pooled, a.shape.group);
  with_pixel(a.map_strides, [&](auto pixel) {
    torch::stable::parallel_for(0, units, 1,
                                [&](int64_t begin, int64_t end) { spread(a, bins, bins_of, pixel, begin, end); });
  });
}

// run(arrays, bins) for the data type; neither tensor is written but by `run`.
template <class Run>
void with_arrays(const PsroiShape& s, double spatial_scale, const Tensor& maps, const Tensor& rois,
                 const Tensor& pooled, Run run) {
  by_type(maps, [&](auto zero) {
    using T = decltype(zero);
    const PsroiArrays<T> a = {s, strides_of(maps), strides_of(pooled), const_cast<T*>(maps.const_data_ptr<T>()),
                              const_cast<T*>(pooled.const_data_ptr<T>())};
    run(a, RoiBins(s, mxnet_parameter<T>(spatial_scale), rois.const_data_ptr<T>()));
  });
}

Tensor psroi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, int64_t output_dim,
                  int64_t pooled_size, std::optional<int64_t> group_size) {
  const PsroiShape shape = checked_psroi_shape(NAME, input, rois, output_dim, pooled_size, group_size);
  const Tensor output = empty_in_format_of(input, {rois.size(0), output_dim, pooled_size, pooled_size});
  with_arrays(shape, spatial_scale, in_either_format(input), dense(rois), output,
              [](const auto& a, const RoiBins& bins) { run_forward(a, bins); });
  return output;
}

Tensor psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, double spatial_scale,
                           int64_t output_dim, int64_t pooled_size, std::optional<int64_t> group_size) {
  const PsroiShape shape = checked_psroi_shape(NAME, input, rois, output_dim, pooled_size, group_size);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  Tensor result = empty_in_format_of(input, sizes_of(input));
  torch::stable::zero_(result);
  with_arrays(shape, spatial_scale, result, dense(rois), in_either_format(grad),
              [](const auto& a, const RoiBins& bins) { run_backward(a, bins); });
  return result;
}

}  // namespace
}  // namespace dcn::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def(
      "psroi_pool(Tensor input, Tensor rois, *, float spatial_scale, int output_dim, int pooled_size, "
      "int? group_size=None) -> Tensor");
  m.def(
      "psroi_pool_backward(Tensor grad, Tensor input, Tensor rois, *, float spatial_scale, int output_dim, "
      "int pooled_size, int? group_size=None) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) {
  m.impl("psroi_pool", TORCH_BOX(&dcn::cpu::psroi_pool));
  m.impl("psroi_pool_backward", TORCH_BOX(&dcn::cpu::psroi_pool_backward));
}
