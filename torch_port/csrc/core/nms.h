// Overlap of two boxes [x1, y1, x2, y2], far edge inclusive (hence + 1), as MXNet's Proposal computes it.
// Host and device. T is float or double.
#pragma once

#include "core/roi_axis.h"

namespace dcn {

template <class T>
DCN_HD T box_area(T x1, T y1, T x2, T y2) {
  return product(total(x2 - x1, T(1)), total(y2 - y1, T(1)));
}

// Whether the intersection over the union of a and b exceeds the threshold; never for a box with NaN.
template <class T>
DCN_HD bool overlaps(T ax1, T ay1, T ax2, T ay2, T area_a, T bx1, T by1, T bx2, T by2, T area_b, T threshold) {
  const T left = ax1 > bx1 ? ax1 : bx1, right = ax2 < bx2 ? ax2 : bx2;
  const T top = ay1 > by1 ? ay1 : by1, bottom = ay2 < by2 ? ay2 : by2;
  const T side_x = total(right - left, T(1)), side_y = total(bottom - top, T(1));
  const T intersection = product(side_x > T(0) ? side_x : T(0), side_y > T(0) ? side_y : T(0));
  return intersection / total(total(area_a, area_b), -intersection) > threshold;
}

// Integers in the order of the scores, descending: NaN last, -0 and +0 equal.
DCN_HD uint64_t descending_key(double score) {
  if (!(score == score)) return ~uint64_t(0);
  union {
    double value;
    uint64_t bits;
  } u = {score + 0.0};
  const uint64_t ascending = u.bits >> 63 ? ~u.bits : u.bits | (uint64_t(1) << 63);
  return ~ascending;
}

}  // namespace dcn
