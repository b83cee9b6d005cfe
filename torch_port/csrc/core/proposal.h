// Region proposals: anchors, decoding, clipping, by the rules of MXNet 1.9.1's Proposal and MultiProposal ("cxx") and
// by those of the original's Python operator ("python"). Host and device.
#pragma once

#include "core/roi_axis.h"

namespace dcn {

template <class T>
struct Box {
  T x1, y1, x2, y2;
};

// A proposal before suppression. usable false: "python" removes it; "cxx" keeps it with score -1.
template <class T>
struct Candidate {
  Box<T> box;
  bool usable;
};

DCN_HD float exponential(float x) { return ::expf(x); }
DCN_HD double exponential(double x) { return ::exp(x); }

// T is the data type. Every expression has MXNet's type: its double literals make some sums double.
template <class T>
struct CxxRules {
  using Scalar = T;

  // Sides rounded half up.
  DCN_MEMBER static Box<T> base_anchor(int stride, T ratio, T scale) {
    const T side = static_cast<T>(stride), area = product(side, side);
    const T whole_area = static_cast<T>(::floor(area / ratio));
    const T across = static_cast<T>(::floor(total(static_cast<T>(::sqrt(whole_area)), T(0.5))));
    const T width = product(across, scale);
    const T height = product(static_cast<T>(::floor(total(product(width / scale, ratio), T(0.5)))), scale);
    const T centre = product(T(0.5), side - T(1));
    const T half_x = product(T(0.5), width - T(1)), half_y = product(T(0.5), height - T(1));
    return {total(centre, -half_x), total(centre, -half_y), total(centre, half_x), total(centre, half_y)};
  }

  DCN_MEMBER static void decode_axis(T low, T high, T shift, T stretch, T& from, T& to) {
    const T side = static_cast<T>(static_cast<double>(high - low) + 1.0);
    const T centre = static_cast<T>(low + product(0.5, static_cast<double>(side) - 1.0));
    const T new_centre = total(product(shift, side), centre);
    const T new_side = product(exponential(stretch), side);
    const double half = product(0.5, static_cast<double>(new_side) - 1.0);
    from = static_cast<T>(new_centre - half);
    to = static_cast<T>(new_centre + half);
  }

  // Boxes that are too small grow by half the least size on each side.
  DCN_MEMBER static void treat_small(Box<T>& box, T least) {
    const T half = least / T(2);
    box = {box.x1 - half, box.y1 - half, box.x2 + half, box.y2 + half};
  }
};

// Everything in float64.
struct PythonRules {
  using Scalar = double;

  // Sides rounded half to even, as NumPy rounds.
  DCN_MEMBER static Box<double> base_anchor(int stride, double ratio, double scale) {
    const double side = stride;
    const double width = ::rint(::sqrt(product(side, side) / ratio)), height = ::rint(product(width, ratio));
    const double centre = 0.5 * (side - 1.0);
    const double half_x = 0.5 * (product(width, scale) - 1.0), half_y = 0.5 * (product(height, scale) - 1.0);
    return {centre - half_x, centre - half_y, centre + half_x, centre + half_y};
  }

  DCN_MEMBER static void decode_axis(double low, double high, double shift, double stretch, double& from, double& to) {
    const double side = high - low + 1.0;
    const double centre = total(product(shift, side), total(low, product(0.5, side - 1.0)));
    const double half = product(0.5, product(exponential(stretch), side) - 1.0);
    from = centre - half;
    to = centre + half;
  }

  DCN_MEMBER static void treat_small(Box<double>&, double) {}
};

template <class T>
DCN_HD T clip(T value, T last) {
  const T low = value < last ? value : last;
  return low > T(0) ? low : T(0);
}

// Anchor at cell (x, y), moved by its four deltas, clipped to the image. least: smallest side, image pixels.
template <class Rules, class T>
DCN_HD Candidate<T> candidate(Box<T> base, int x, int y, int stride, const T (&delta)[4], T image_height,
                              T image_width, T least) {
  const T shift_x = static_cast<T>(static_cast<int64_t>(x) * stride);
  const T shift_y = static_cast<T>(static_cast<int64_t>(y) * stride);
  Box<T> box;
  Rules::decode_axis(base.x1 + shift_x, base.x2 + shift_x, delta[0], delta[2], box.x1, box.x2);
  Rules::decode_axis(base.y1 + shift_y, base.y2 + shift_y, delta[1], delta[3], box.y1, box.y2);
  const bool numbers = box.x1 == box.x1 && box.y1 == box.y1 && box.x2 == box.x2 && box.y2 == box.y2;
  const T right = image_width - T(1), bottom = image_height - T(1);
  box = {clip(box.x1, right), clip(box.y1, bottom), clip(box.x2, right), clip(box.y2, bottom)};
  const bool large = !(total(box.x2 - box.x1, T(1)) < least || total(box.y2 - box.y1, T(1)) < least);
  if (!large) Rules::treat_small(box, least);
  return {box, large && numbers};
}

// Rows (columns) of the map that the image really covers.
template <class T>
DCN_HD int covered_cells(T image_side, int stride, int size) {
  return clipped_cell(image_side / static_cast<T>(stride), size);
}

}  // namespace dcn
