// RoI max pooling, MXNet 1.9.1 `ROIPooling` (Caffe's): which cells a bin covers, and its maximum. Host and device.
#pragma once

#include "core/roi_axis.h"

namespace dcn {

struct RoiPoolShape {
  int num_images, channels, height, width;
  int num_rois, pooled_height, pooled_width;
};

// One axis of a RoI in whole cells; `usable` is false where an int cannot hold it.
struct RoiCells {
  int64_t start;
  int64_t extent;  // at least 1
  bool usable;
};

// first, last: image pixels, far edge inclusive; scaled, then rounded (the position-sensitive operators round first).
template <class T>
DCN_HD RoiCells roi_cells(T first, T last, T spatial_scale) {
  const T start = round_half_away(product(first, spatial_scale)), end = round_half_away(product(last, spatial_scale));
  const T limit = T(1e9);
  if (!(start > -limit && start < limit && end > -limit && end < limit)) return {0, 1, false};
  const int64_t extent = static_cast<int64_t>(end) - static_cast<int64_t>(start) + 1;
  return {static_cast<int64_t>(start), extent > 1 ? extent : 1, true};
}

DCN_HD int limited(int64_t value, int size) {
  return value < 0 ? 0 : value > size ? size : static_cast<int>(value);
}

// Cells [begin, end) of bin `bin` of `pooled`, within the map.
template <class T>
DCN_HD void roi_bin(RoiCells roi, int bin, int pooled, int size, int& begin, int& end) {
  const T bin_extent = static_cast<T>(roi.extent) / static_cast<T>(pooled);
  begin = limited(static_cast<int64_t>(::floor(product(static_cast<T>(bin), bin_extent))) + roi.start, size);
  end = limited(static_cast<int64_t>(::ceil(product(static_cast<T>(bin + 1), bin_extent))) + roi.start, size);
  if (!roi.usable) begin = end = 0;
}

// What argmax holds instead of a cell: the bin is empty (output 0), or nothing in it exceeds the lowest float32
// (output that float, as in MXNet: NaN everywhere, for one).
constexpr int EMPTY_BIN = -1;
constexpr int NOTHING_LARGE = -2;
constexpr float LOWEST = -3.40282346638528859812e+38f;

template <class T>
struct Maximum {
  T value;
  int cell;
};

// The first largest element of one plane (channel) in rows [y0, y1), columns [x0, x1). stride_x: elements from one
// column to the next, so that both memory formats are read in place.
template <class S, class T>
DCN_HD Maximum<T> roi_maximum(const S* plane, int width, int64_t stride_x, int y0, int y1, int x0, int x1) {
  if (y0 >= y1 || x0 >= x1) return {T(0), EMPTY_BIN};
  Maximum<T> best{static_cast<T>(LOWEST), NOTHING_LARGE};
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const T value = static_cast<T>(plane[(static_cast<int64_t>(y) * width + x) * stride_x]);
      if (value > best.value) best = {value, y * width + x};
    }
  }
  return best;
}

}  // namespace dcn
