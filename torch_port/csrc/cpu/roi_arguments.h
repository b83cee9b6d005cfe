// Argument checks that the RoI operators share. Every message says operator, argument, expected, got.
#pragma once

#include <array>
#include <cstdint>

#include "core/roi_axis.h"
#include "cpu/tensors.h"

namespace dcn::cpu {

using tensors::dtype_text;
using tensors::in_format_of;
using tensors::refuse;
using tensors::shape_text;
using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline void check_positive(const char* op, const char* name, int64_t value) {
  if (value < 1 || value > 32768) refuse(op, name, ": expected 1 to 32768, got ", value);
}

inline void check_map_and_rois(const char* op, const Tensor& input, const Tensor& rois) {
  if (input.dim() != 4) refuse(op, "input: expected [N, C, H, W], got ", shape_text(input));
  if (input.scalar_type() != ScalarType::Float && input.scalar_type() != ScalarType::Double) {
    refuse(op, "input: expected float32 or float64 on the CPU, got ", dtype_text(input));
  }
  if (rois.dim() != 2 || rois.size(1) != 5) {
    refuse(op, "rois: expected [R, 5] = (image index, x1, y1, x2, y2), got ", shape_text(rois));
  }
  if (rois.scalar_type() != input.scalar_type()) {
    refuse(op, "rois: expected input's type ", dtype_text(input), ", got ", dtype_text(rois));
  }
  if (!rois.is_cpu()) refuse(op, "rois: expected input's device, cpu, got another");
  for (int64_t i = 0; i < 4; ++i) {
    if (input.size(i) > 2147483647) refuse(op, "input: expected sizes below 2^31, got ", shape_text(input));
  }
  if (input.size(2) * input.size(3) > 2147483647) {
    refuse(op, "input: expected fewer than 2^31 elements in a plane, got ", shape_text(input));
  }
}

inline void check_grad(const char* op, const Tensor& grad, const Tensor& input, std::array<int64_t, 4> shape) {
  bool right = grad.dim() == 4 && grad.scalar_type() == input.scalar_type() && grad.is_cpu();
  for (int64_t i = 0; right && i < 4; ++i) right = grad.size(i) == shape[i];
  if (!right) {
    refuse(op, "grad: expected [", shape[0], ", ", shape[1], ", ", shape[2], ", ", shape[3], "] in ",
           dtype_text(input), " on the CPU, got ", shape_text(grad), " in ", dtype_text(grad));
  }
}

// A finite image index outside [0, num_images) is a mistake of the caller; a row with NaN or infinity is no RoI.
template <class T>
inline void check_images(const char* op, const T* rois, int64_t num_rois, int64_t num_images) {
  for (int64_t i = 0; i < num_rois; ++i) {
    const T image = rois[i * 5];
    if (is_finite(image) && !(image > T(-1) && image < static_cast<T>(num_images))) {
      refuse(op, "rois: expected image indices in [0, ", num_images, "), got ", image, " in row ", i);
    }
  }
}

}  // namespace dcn::cpu
