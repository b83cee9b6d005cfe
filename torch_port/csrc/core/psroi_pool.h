// Position-sensitive RoI pooling, MXNet 1.9.1 `_contrib_PSROIPooling`: which cells a bin averages. Host and device.
#pragma once

#include "core/roi_axis.h"

namespace dcn {

struct PsroiShape {
  int num_images, channels, height, width;
  int num_rois, output_dim, group, pooled;
};

// Cells [begin, end) of the feature map on one axis.
struct CellRange {
  int begin, end;

  DCN_MEMBER int size() const { return end > begin ? end - begin : 0; }
};

template <class T>
DCN_HD CellRange psroi_cells(RoiAxis<T> roi, int bin, int pooled, int size) {
  const T bin_extent = roi.extent / static_cast<T>(pooled);
  const T begin = ::floor(total(product(static_cast<T>(bin), bin_extent), roi.start));
  const T end = ::ceil(total(product(static_cast<T>(bin + 1), bin_extent), roi.start));
  return {clipped_cell(begin, size), clipped_cell(end, size)};
}

template <class T>
struct PsroiRoi {
  RoiAxis<T> x, y;
};

template <class T>
DCN_HD PsroiRoi<T> psroi_roi(const T* roi, T spatial_scale) {
  return {position_sensitive_axis(roi[1], roi[3], spatial_scale, T(0)),
          position_sensitive_axis(roi[2], roi[4], spatial_scale, T(0))};
}

// The bin's output from its plane (channel): mean over its cells, row by row; 0 when there is none. stride_x: elements
// from one column to the next.
template <class S, class T>
DCN_HD T psroi_mean(const S* plane, CellRange rows, CellRange columns, int width, int64_t stride_x = 1) {
  const int area = rows.size() * columns.size();
  T sum = 0;
  for (int y = rows.begin; y < rows.end; ++y) {
    for (int x = columns.begin; x < columns.end; ++x) {
      sum = total(sum, static_cast<T>(plane[(static_cast<int64_t>(y) * width + x) * stride_x]));
    }
  }
  return area == 0 ? T(0) : sum / static_cast<T>(area);
}

}  // namespace dcn
