// Argument checks that the RoI operators share on CUDA.
#pragma once

#include <vector>

#include "cuda/arguments.h"

namespace dcn::cuda {

inline int checked_positive(const char* op, const char* name, int64_t value) {
  if (value < 1 || value > 32768) refuse(op, name, ": expected 1 to 32768, got ", value);
  return static_cast<int>(value);
}

// rois come in input's type; with float16 and bfloat16 maps also in float32, which can hold a pixel of a large image.
inline void check_map_and_rois(const char* op, const Tensor& input, const Tensor& rois) {
  if (input.dim() != 4) refuse(op, "input: expected [N, C, H, W], got ", shape_text(input));
  if (rois.dim() != 2 || rois.size(1) != 5) {
    refuse(op, "rois: expected [R, 5] = (image index, x1, y1, x2, y2), got ", shape_text(rois));
  }
  if (rois.scalar_type() != input.scalar_type() && rois.scalar_type() != accumulator_type(input)) {
    refuse(op, "rois: expected input's type ", dtype_text(input), ", got ", dtype_text(rois));
  }
  check_device(op, "rois", rois, input);
  for (int64_t i = 0; i < 4; ++i) {
    if (input.size(i) > 2147483647) refuse(op, "input: expected sizes below 2^31, got ", shape_text(input));
  }
  if (rois.size(0) > 2147483647) refuse(op, "rois: expected fewer than 2^31 rows, got ", rois.size(0));
  if (input.size(2) * input.size(3) > 2147483647) {
    refuse(op, "input: expected fewer than 2^31 elements in a plane, got ", shape_text(input));
  }
}

inline void check_grad(const char* op, const Tensor& grad, const Tensor& input, const std::vector<int64_t>& sizes) {
  bool fits = grad.dim() == static_cast<int64_t>(sizes.size()) && grad.scalar_type() == input.scalar_type();
  for (size_t i = 0; fits && i < sizes.size(); ++i) fits = grad.size(static_cast<int64_t>(i)) == sizes[i];
  if (!fits) {
    std::ostringstream expected;
    for (size_t i = 0; i < sizes.size(); ++i) expected << (i ? ", " : "") << sizes[i];
    refuse(op, "grad: expected [", expected.str(), "] in ", dtype_text(input), ", got ", shape_text(grad), " in ",
           dtype_text(grad));
  }
  check_device(op, "grad", grad, input);
}

}  // namespace dcn::cuda
