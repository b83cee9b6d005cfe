// One axis of a region of interest, as MXNet 1.9.1 computes it: x and y have the same arithmetic, so everything here
// is written once for both. Host and device, no torch header.
// T is float or double; every product and sum is rounded on its own (never fused), which keeps all back ends in the
// same cell.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/bilinear.h"  // DCN_HD

namespace dcn {

template <class T>
DCN_HD T product(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == sizeof(float)) {
    return __fmul_rn(a, b);
  } else {
    return __dmul_rn(a, b);
  }
#else
  return a * b;
#endif
}
template <class T>
DCN_HD T total(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == sizeof(float)) {
    return __fadd_rn(a, b);
  } else {
    return __dadd_rn(a, b);
  }
#else
  return a + b;
#endif
}

// C rounding: half away from zero (NumPy and Python round half to even).
DCN_HD float round_half_away(float x) { return ::roundf(x); }
DCN_HD double round_half_away(double x) { return ::round(x); }

// False for NaN and infinities.
template <class T>
DCN_HD bool is_finite(T x) {
  return x - x == T(0);
}

// MXNet keeps its float parameters in float32 whatever the data type: trans_std 0.1 is 0.100000001490116 in float64.
// volatile: g++ 12 -O3 drops the rounding of two such values side by side (double to float to double, vectorised).
template <class T>
DCN_HD T mxnet_parameter(double value) {
  volatile float rounded = static_cast<float>(value);
  return static_cast<T>(rounded);
}

// Where a RoI begins on one axis of the feature map, and how far it reaches (feature pixels).
template <class T>
struct RoiAxis {
  T start;
  T extent;
};

// first, last: image pixels, the far edge inclusive (hence + 1). Rounded in the image, then scaled; shift is 0.5 for
// deformable position-sensitive pooling and 0 for the plain one. NaN stays NaN: every sample of it is then outside.
template <class T>
DCN_HD RoiAxis<T> position_sensitive_axis(T first, T last, T spatial_scale, T shift) {
  const T start = total(product(round_half_away(first), spatial_scale), -shift);
  const T end = total(product(total(round_half_away(last), T(1)), spatial_scale), -shift);
  const T extent = total(end, -start);
  const T smallest = static_cast<T>(0.1);
  return {start, extent < smallest ? smallest : extent};
}

// The group cell (position-sensitive channel block) that bin `bin` of `pooled` reads.
template <class T>
DCN_HD int group_cell(int bin, int pooled, int group) {
  const int cell = static_cast<int>(product(static_cast<T>(bin), static_cast<T>(group)) / static_cast<T>(pooled));
  return cell > group - 1 ? group - 1 : cell;
}

// The image a RoI row [image, x1, y1, x2, y2] belongs to, truncated as C does; -1: no such image, or a number in
// the row is not finite. Such a RoI pools to 0 and gets no gradient.
template <class T>
DCN_HD int roi_image(const T* roi, int num_images) {
  for (int i = 0; i < 5; ++i) {
    if (!is_finite(roi[i])) return -1;
  }
  return roi[0] > T(-1) && roi[0] < static_cast<T>(num_images) ? static_cast<int>(roi[0]) : -1;
}

// value as an int in [0, size]; what an int cannot hold is 0, as on x86, where MXNet's cast gives INT_MIN.
template <class T>
DCN_HD int clipped_cell(T value, int size) {
  if (!(value > T(0) && value < T(2147483648.0))) return 0;
  return value >= static_cast<T>(size) ? size : static_cast<int>(value);
}

}  // namespace dcn
