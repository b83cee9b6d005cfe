// Maps and pooled results of the RoI pooling operators in either memory format, and which bins a group cell serves.
#pragma once

#include <type_traits>
#include <vector>

#include "core/psroi_pool.h"
#include "cpu/roi_arguments.h"
#include "cpu/strides.h"
#include "cpu/tensors.h"

namespace dcn::cpu {

inline Strides strides_of(const Tensor& t) {
  const int64_t channels = t.size(1), places = t.size(2) * t.size(3);
  return is_channels_last(t) ? Strides{channels * places, 1, channels} : Strides{channels * places, places, 1};
}

// t itself where it lies in either format.
inline Tensor in_either_format(const Tensor& t) { return is_channels_last(t) ? t : dense(t); }

// f(elements from one pixel to the next): a constant where maps are contiguous.
template <class F>
void with_pixel(const Strides& strides, F f) {
  strides.place == 1 ? f(std::integral_constant<int64_t, 1>()) : f(strides.place);
}

inline Tensor empty_in_format_of(const Tensor& like, const Sizes& sizes) {
  return empty_like_format(like, sizes, is_channels_last(like));
}

// The bins [begin, end) of one axis whose group cell is `group`; group_cell ascends with the bin.
template <class T>
std::vector<CellRange> bins_of_groups(int pooled, int groups) {
  std::vector<CellRange> bins(groups, CellRange{0, 0});
  for (int bin = 0; bin < pooled; ++bin) {
    CellRange& range = bins[group_cell<T>(bin, pooled, groups)];
    range = {range.size() > 0 ? range.begin : bin, bin + 1};
  }
  return bins;
}

}  // namespace dcn::cpu
