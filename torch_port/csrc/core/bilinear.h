// Bilinear sampling of a map at a fractional position: where the sample falls, its corners and their weights, its
// value, its slopes. Host and device, no torch header. T (float or double) is the type of coordinates and sums.
//
// The two rules outside the map are named types with one member, `axis_cell`:
//   ClampBorder  MXNet's DeformableConvolution. A value only in [0, size); between size-1 and size the last row is
//                repeated, the slope is 0 and the data gradient goes to that row.
//   ZerosBorder  DCNv2, MXNet's ModulatedDeformableConvolution. The map goes on with zeros: a value in (-1, size)
//                that fades over (-1, 0) and (size-1, size).
// Both make a position that is not finite an empty cell: range tests come before any cast to int.
#pragma once

#include <cmath>
#include <cstdint>

#ifndef DCN_HD
#if defined(__CUDACC__)
#define DCN_HD __host__ __device__ __forceinline__
#else
#define DCN_HD static inline __attribute__((always_inline))
#endif
#endif

#ifndef DCN_MEMBER  // a member function; inlined, or one instruction set's copy could be linked for another
#if defined(__CUDACC__)
#define DCN_MEMBER __host__ __device__
#else
#define DCN_MEMBER inline __attribute__((always_inline))
#endif
#endif

namespace dcn {

// One axis of a sample. `inside`: it has a value at all. low_inside, high_inside: that row (column) is in the map.
// Indices are within the map wherever their flag is set.
template <class T>
struct AxisCell {
  int low, high;
  T fraction;  // of the way from low to high, in [0, 1)
  bool inside, low_inside, high_inside;
};

struct ClampBorder {
  template <class T>
  DCN_MEMBER static AxisCell<T> axis_cell(T position, int size) {
    if (!(position >= T(0) && position < static_cast<T>(size))) return {0, 0, T(0), false, false, false};
    const int low = static_cast<int>(position);  // floor: position >= 0
    if (low >= size - 1) return {size - 1, size - 1, T(0), true, true, true};
    return {low, low + 1, position - static_cast<T>(low), true, true, true};
  }
};

struct ZerosBorder {
  template <class T>
  DCN_MEMBER static AxisCell<T> axis_cell(T position, int size) {
    if (!(position > T(-1) && position < static_cast<T>(size))) return {0, 0, T(0), false, false, false};
    const int low = position < T(0) ? -1 : static_cast<int>(position);
    return {low, low + 1, position - static_cast<T>(low), true, low >= 0, low + 1 < size};
  }
};

// A sample's place on both axes.
template <class T>
struct BilinearCell {
  AxisCell<T> y, x;

  DCN_MEMBER bool inside() const { return y.inside && x.inside; }
};

template <class Border, class T>
DCN_HD BilinearCell<T> bilinear_cell(T y, T x, int height, int width) {
  return {Border::axis_cell(y, height), Border::axis_cell(x, width)};
}

// Four numbers, one per corner, named row then column: `v01` is upper right.
template <class T>
struct FourCorners {
  T v00, v01, v10, v11;
};

// How much each corner counts; 0 for corners beyond the map and for an empty cell.
template <class T>
DCN_HD FourCorners<T> bilinear_weights(const BilinearCell<T>& c) {
  if (!c.inside()) return {T(0), T(0), T(0), T(0)};
  const T lower = c.y.fraction, upper = T(1) - lower, right = c.x.fraction, left = T(1) - right;
  return {c.y.low_inside && c.x.low_inside ? upper * left : T(0),
          c.y.low_inside && c.x.high_inside ? upper * right : T(0),
          c.y.high_inside && c.x.low_inside ? lower * left : T(0),
          c.y.high_inside && c.x.high_inside ? lower * right : T(0)};
}

// Where each corner lies in a map with these strides (in elements); `outside` for a corner beyond it.
template <class T>
DCN_HD FourCorners<int64_t> bilinear_addresses(const BilinearCell<T>& c, int64_t stride_y, int64_t stride_x,
                                               int64_t outside) {
  if (!c.inside()) return {outside, outside, outside, outside};
  const int64_t top = c.y.low * stride_y, bottom = c.y.high * stride_y;
  const int64_t left = c.x.low * stride_x, right = c.x.high * stride_x;
  return {c.y.low_inside && c.x.low_inside ? top + left : outside,
          c.y.low_inside && c.x.high_inside ? top + right : outside,
          c.y.high_inside && c.x.low_inside ? bottom + left : outside,
          c.y.high_inside && c.x.high_inside ? bottom + right : outside};
}

// The corners' values; 0 beyond the map. S is the data type.
template <class S, class T>
DCN_HD FourCorners<T> bilinear_corners(const S* map, const BilinearCell<T>& c, int64_t stride_y, int64_t stride_x) {
  const FourCorners<int64_t> at = bilinear_addresses(c, stride_y, stride_x, -1);
  return {at.v00 < 0 ? T(0) : static_cast<T>(map[at.v00]), at.v01 < 0 ? T(0) : static_cast<T>(map[at.v01]),
          at.v10 < 0 ? T(0) : static_cast<T>(map[at.v10]), at.v11 < 0 ? T(0) : static_cast<T>(map[at.v11])};
}

template <class T>
DCN_HD T bilinear_value(const FourCorners<T>& v, const FourCorners<T>& weight) {
  return weight.v00 * v.v00 + weight.v01 * v.v01 + weight.v10 * v.v10 + weight.v11 * v.v11;
}

// Derivative of the value for y and for x. One formula serves both rules: a repeated row has equal corners, a row
// beyond the map is 0. At an integer it is the derivative towards higher positions. An empty cell has none.
template <class T>
DCN_HD T bilinear_slope_y(const FourCorners<T>& v, const BilinearCell<T>& c) {
  return c.inside() ? (v.v10 - v.v00) * (T(1) - c.x.fraction) + (v.v11 - v.v01) * c.x.fraction : T(0);
}
template <class T>
DCN_HD T bilinear_slope_x(const FourCorners<T>& v, const BilinearCell<T>& c) {
  return c.inside() ? (v.v01 - v.v00) * (T(1) - c.y.fraction) + (v.v11 - v.v10) * c.y.fraction : T(0);
}

}  // namespace dcn
