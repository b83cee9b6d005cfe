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

// Bins are staged a few at a time: each channel's results then go out side by side.
constexpr int64_t STAGED = 16;

template <class T>
struct Staging {
  alignas(64) T value[STAGED][ROI_POOL_BLOCK];
  alignas(64) int cell[STAGED][ROI_POOL_BLOCK];

  // The first `bins` staged bins of `count` channels to output and argmax, in the order in which they lie there.
  inline __attribute__((always_inline)) void write(int64_t bins, int64_t count, const Strides& to, T* output,
                                                   int* argmax) const {
    if (to.channel == 1) {
      for (int64_t bin = 0; bin < bins; ++bin) {
        for (int64_t c = 0; c < count; ++c) {
          output[bin * to.place + c] = value[bin][c];
          argmax[bin * to.place + c] = cell[bin][c];
        }
      }
      return;
    }
    for (int64_t c = 0; c < count; ++c) {
      for (int64_t bin = 0; bin < bins; ++bin) {
        output[c * to.channel + bin] = value[bin][c];
        argmax[c * to.channel + bin] = cell[bin][c];
      }
    }
  }
};

template <class T>
void forward(const RoiPoolArrays<T>& a, int64_t begin, int64_t end) {
  const RoiPoolShape& s = a.shape;
  const int64_t blocks = (s.channels + ROI_POOL_BLOCK - 1) / ROI_POOL_BLOCK;
  const int64_t bins = static_cast<int64_t>(s.pooled_height) * s.pooled_width;
  Staging<T> staging;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t roi = unit / blocks, first = unit % blocks * ROI_POOL_BLOCK;
    const int64_t count = s.channels - first < ROI_POOL_BLOCK ? s.channels - first : ROI_POOL_BLOCK;
    const T* r = a.rois + roi * 5;
    const int image = roi_image(r, s.num_images);
    const RoiCells rows = roi_cells(r[2], r[4], a.spatial_scale), columns = roi_cells(r[1], r[3], a.spatial_scale);
    const bool usable = image >= 0 && rows.usable && columns.usable;
    const T* data = a.input + static_cast<int64_t>(usable ? image : 0) * s.height * s.width * s.channels + first;
    const int64_t to = roi * a.pooled.image + first * a.pooled.channel;
    for (int64_t bin = 0; bin < bins; ++bin) {
      int y0, y1, x0, x1;
      roi_bin<T>(rows, static_cast<int>(bin / s.pooled_width), s.pooled_height, s.height, y0, y1);
      roi_bin<T>(columns, static_cast<int>(bin % s.pooled_width), s.pooled_width, s.width, x0, x1);
      const int64_t slot = bin % STAGED;
      bin_maxima(data, s.channels, count, s.width, y0, usable ? y1 : y0, x0, x1, staging.value[slot],
                 staging.cell[slot]);
      if (slot == STAGED - 1 || bin == bins - 1) {
        const int64_t at = to + (bin - slot) * a.pooled.place;
        staging.write(slot + 1, count, a.pooled, a.output + at, a.argmax + at);
      }
    }
  }
}

}  // namespace

void roi_pool_forward(const RoiPoolArrays<float>& a, int64_t begin, int64_t end) { forward(a, begin, end); }
void roi_pool_forward(const RoiPoolArrays<double>& a, int64_t begin, int64_t end) { forward(a, begin, end); }

}  // namespace dcn::cpu::DCN_ISA
