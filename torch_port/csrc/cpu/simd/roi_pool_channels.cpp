// roi_pool with one channel per vector lane, on a channels_last map; compiled once per instruction set. The same
// comparisons as core/roi_pool.h's roi_maximum, in the same order.
#include "cpu/roi_pool.h"

namespace dcn::cpu::DCN_ISA {
namespace {

// Channels [0, count) of one bin; cells in channels_last order.
template <class T>
DCN_HD void bin_maxima(const T* image, int64_t channels, int64_t count, int width, int y0, int y1, int x0, int x1,
                       T* value, int* cell) {
  const bool empty = y0 >= y1 || x0 >= x1;
  for (int64_t c = 0; c < ROI_POOL_BLOCK; ++c) {
    value[c] = empty ? T(0) : static_cast<T>(LOWEST);
    cell[c] = empty ? EMPTY_BIN : NOTHING_LARGE;
  }
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const int here = y * width + x;
      const T* p = image + static_cast<int64_t>(here) * channels;
      if (count == ROI_POOL_BLOCK) {
        for (int64_t c = 0; c < ROI_POOL_BLOCK; ++c) {
          const bool larger = p[c] > value[c];
          value[c] = larger ? p[c] : value[c];
          cell[c] = larger ? here : cell[c];
        }
      } else {
        for (int64_t c = 0; c < count; ++c) {
          const bool larger = p[c] > value[c];
          value[c] = larger ? p[c] : value[c];
          cell[c] = larger ? here : cell[c];
        }
      }
    }
  }
}

template <class T>
void forward(const RoiPoolArrays<T>& a, int64_t begin, int64_t end) {
  const RoiPoolShape& s = a.shape;
  const int64_t blocks = (s.channels + ROI_POOL_BLOCK - 1) / ROI_POOL_BLOCK;
  const int64_t bins = static_cast<int64_t>(s.pooled_height) * s.pooled_width;
  alignas(64) T value[ROI_POOL_BLOCK];
  alignas(64) int cell[ROI_POOL_BLOCK];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t roi = unit / blocks, first = unit % blocks * ROI_POOL_BLOCK;
    const int64_t count = s.channels - first < ROI_POOL_BLOCK ? s.channels - first : ROI_POOL_BLOCK;
    const T* r = a.rois + roi * 5;
    const int image = roi_image(r, s.num_images);
    const RoiCells rows = roi_cells(r[2], r[4], a.spatial_scale), columns = roi_cells(r[1], r[3], a.spatial_scale);
    const bool usable = image >= 0 && rows.usable && columns.usable;
    const T* data = a.input + static_cast<int64_t>(usable ? image : 0) * s.height * s.width * s.channels + first;
    for (int bin_y = 0; bin_y < s.pooled_height; ++bin_y) {
      int y0, y1, x0, x1;
      roi_bin<T>(rows, bin_y, s.pooled_height, s.height, y0, y1);
      for (int bin_x = 0; bin_x < s.pooled_width; ++bin_x) {
        roi_bin<T>(columns, bin_x, s.pooled_width, s.width, x0, x1);
        bin_maxima(data, s.channels, count, s.width, y0, usable ? y1 : y0, x0, x1, value, cell);
        const int64_t to = (roi * s.channels + first) * bins + static_cast<int64_t>(bin_y) * s.pooled_width + bin_x;
        for (int64_t c = 0; c < count; ++c) {
          a.output[to + c * bins] = value[c];
          a.argmax[to + c * bins] = cell[c];
        }
      }
    }
  }
}

}  // namespace

void roi_pool_forward(const RoiPoolArrays<float>& a, int64_t begin, int64_t end) { forward(a, begin, end); }
void roi_pool_forward(const RoiPoolArrays<double>& a, int64_t begin, int64_t end) { forward(a, begin, end); }

}  // namespace dcn::cpu::DCN_ISA
