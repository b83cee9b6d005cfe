// psroi_pool on the CPU: schema, checks, threads. The arithmetic is core/psroi_pool.h.
#include "core/psroi_pool.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cpu/roi_arguments.h"

namespace dcn::cpu {
namespace {

constexpr const char* NAME = "psroi_pool";

// Cells of every bin on both axes, once per RoI.
struct BinCells {
  std::vector<CellRange> rows, columns;

  template <class T>
  BinCells(const T* roi, T spatial_scale, const PsroiShape& s) {
    const PsroiRoi<T> window = psroi_roi(roi, spatial_scale);
    for (int bin = 0; bin < s.pooled; ++bin) {
      rows.push_back(psroi_cells(window.y, bin, s.pooled, s.height));
      columns.push_back(psroi_cells(window.x, bin, s.pooled, s.width));
    }
  }
};

// Sums of four planes at once: each is one chain of additions in MXNet's order, four chains hide its latency.
template <class T>
void mean_of_four(const T* plane, int64_t stride, CellRange rows, CellRange columns, int width, T* output,
                  int64_t output_stride) {
  const int area = rows.size() * columns.size();
  T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int y = rows.begin; y < rows.end; ++y) {
    const T* p = plane + static_cast<int64_t>(y) * width;
    for (int x = columns.begin; x < columns.end; ++x) {
      s0 += p[x];
      s1 += p[x + stride];
      s2 += p[x + 2 * stride];
      s3 += p[x + 3 * stride];
    }
  }
  const T sums[4] = {s0, s1, s2, s3};
  for (int i = 0; i < 4; ++i) output[i * output_stride] = area ? sums[i] / static_cast<T>(area) : T(0);
}

// Output rows [begin, end) of (RoI, output channel).
template <class T>
void forward(const PsroiShape& s, T spatial_scale, const T* input, const T* rois, T* output, int64_t begin,
             int64_t end) {
  const int64_t plane_size = static_cast<int64_t>(s.height) * s.width, bins = static_cast<int64_t>(s.pooled) * s.pooled;
  const int64_t channel_stride = static_cast<int64_t>(s.group) * s.group * plane_size;
  for (int64_t row = begin; row < end;) {
    const int64_t roi = row / s.output_dim, first = row % s.output_dim;
    const int64_t last = std::min<int64_t>(s.output_dim, end - roi * s.output_dim);
    row = roi * s.output_dim + last;
    T* roi_output = output + roi * s.output_dim * bins;
    const int image = roi_image(rois + roi * 5, s.num_images);
    if (image < 0) {
      std::fill(roi_output + first * bins, roi_output + last * bins, T(0));
      continue;
    }
    const BinCells cells(rois + roi * 5, spatial_scale, s);
    const T* image_data = input + static_cast<int64_t>(image) * s.channels * plane_size;
    for (int bin_y = 0; bin_y < s.pooled; ++bin_y) {
      for (int bin_x = 0; bin_x < s.pooled; ++bin_x) {
        const CellRange rows = cells.rows[bin_y], columns = cells.columns[bin_x];
        const int group = group_cell<T>(bin_y, s.pooled, s.group) * s.group + group_cell<T>(bin_x, s.pooled, s.group);
        const T* planes = image_data + group * plane_size;
        T* bin_output = roi_output + bin_y * s.pooled + bin_x;
        int64_t c = first;
        for (; c + 4 <= last; c += 4) {
          mean_of_four(planes + c * channel_stride, channel_stride, rows, columns, s.width, bin_output + c * bins, bins);
        }
        for (; c < last; ++c) {
          bin_output[c * bins] = psroi_mean<T, T>(planes + c * channel_stride, rows, columns, s.width);
        }
      }
    }
  }
}

// Adds to the planes of (output channel, group row) in [begin, end): no other thread touches them, and each sees the
// RoIs in order, so the result does not depend on the number of threads.
template <class T>
void backward(const PsroiShape& s, T spatial_scale, const T* grad, const T* rois, T* grad_input, int64_t begin,
              int64_t end) {
  const int64_t plane_size = static_cast<int64_t>(s.height) * s.width;
  for (int64_t roi = 0; roi < s.num_rois; ++roi) {
    const int image = roi_image(rois + roi * 5, s.num_images);
    if (image < 0) continue;
    const BinCells cells(rois + roi * 5, spatial_scale, s);
    for (int64_t unit = begin; unit < end; ++unit) {
      T* planes = grad_input + (image * static_cast<int64_t>(s.channels) + unit * s.group) * plane_size;
      for (int bin_y = 0; bin_y < s.pooled; ++bin_y) {
        if (group_cell<T>(bin_y, s.pooled, s.group) != unit % s.group) continue;
        const T* grad_row = grad + ((roi * s.output_dim + unit / s.group) * s.pooled + bin_y) * s.pooled;
        for (int bin_x = 0; bin_x < s.pooled; ++bin_x) {
          const CellRange rows = cells.rows[bin_y], columns = cells.columns[bin_x];
          const int area = rows.size() * columns.size();
          if (area == 0) continue;
          const T share = grad_row[bin_x] / static_cast<T>(area);
          T* plane = planes + group_cell<T>(bin_x, s.pooled, s.group) * plane_size;
          for (int y = rows.begin; y < rows.end; ++y) {
            for (int x = columns.begin; x < columns.end; ++x) plane[static_cast<int64_t>(y) * s.width + x] += share;
          }
        }
      }
    }
  }
}

template <class T>
void run_forward(const PsroiShape& s, double spatial_scale, const Tensor& input, const Tensor& rois, Tensor& output) {
  const T* r = rois.const_data_ptr<T>();
  check_images(NAME, r, s.num_rois, s.num_images);
  torch::stable::parallel_for(0, static_cast<int64_t>(s.num_rois) * s.output_dim, 8, [&](int64_t begin, int64_t end) {
    forward(s, mxnet_parameter<T>(spatial_scale), input.const_data_ptr<T>(), r, output.mutable_data_ptr<T>(), begin,
            end);
  });
}

template <class T>
void run_backward(const PsroiShape& s, double spatial_scale, const Tensor& grad, const Tensor& rois, Tensor& result) {
  const T* r = rois.const_data_ptr<T>();
  check_images(NAME, r, s.num_rois, s.num_images);
  torch::stable::parallel_for(0, static_cast<int64_t>(s.output_dim) * s.group, 1, [&](int64_t begin, int64_t end) {
    backward(s, mxnet_parameter<T>(spatial_scale), grad.const_data_ptr<T>(), r, result.mutable_data_ptr<T>(), begin,
             end);
  });
}

Tensor psroi_pool(const Tensor& input, const Tensor& rois, double spatial_scale, int64_t output_dim,
                  int64_t pooled_size, std::optional<int64_t> group_size) {
  const PsroiShape shape = checked_psroi_shape(NAME, input, rois, output_dim, pooled_size, group_size);
  const Tensor x = torch::stable::contiguous(input), r = torch::stable::contiguous(rois);
  Tensor output = torch::stable::new_empty(x, {rois.size(0), output_dim, pooled_size, pooled_size});
  if (input.scalar_type() == ScalarType::Float) {
    run_forward<float>(shape, spatial_scale, x, r, output);
  } else {
    run_forward<double>(shape, spatial_scale, x, r, output);
  }
  return in_format_of(output, input);
}

Tensor psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois, double spatial_scale,
                           int64_t output_dim, int64_t pooled_size, std::optional<int64_t> group_size) {
  const PsroiShape shape = checked_psroi_shape(NAME, input, rois, output_dim, pooled_size, group_size);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  const Tensor g = torch::stable::contiguous(grad), r = torch::stable::contiguous(rois);
  Tensor result = torch::stable::new_zeros(input, {input.size(0), input.size(1), input.size(2), input.size(3)});
  if (input.scalar_type() == ScalarType::Float) {
    run_backward<float>(shape, spatial_scale, g, r, result);
  } else {
    run_backward<double>(shape, spatial_scale, g, r, result);
  }
  return in_format_of(result, input);
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
