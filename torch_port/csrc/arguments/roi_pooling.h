// Argument checks of the three RoI pooling operators, the same on every device.
#pragma once

#include <optional>

#include "arguments/tensors.h"
#include "core/deform_psroi_pool.h"
#include "core/psroi_pool.h"
#include "core/roi_pool.h"

namespace dcn {

inline int checked_positive(const char* op, const char* name, int64_t value) {
  if (value < 1 || value > 32768) refuse(op, name, ": expected 1 to 32768, got ", value);
  return static_cast<int>(value);
}

inline void check_map_and_rois(const char* op, const Tensor& input, const Tensor& rois) {
  if (input.dim() != 4) refuse(op, "input: expected [N, C, H, W], got ", shape_text(input));
  if (input.is_cpu() && !is_float32_or_float64(input)) {
    refuse(op, "input: expected float32 or float64 on the CPU, got ", dtype_text(input));
  }
  if (rois.dim() != 2 || rois.size(1) != 5) {
    refuse(op, "rois: expected [R, 5] = (image index, x1, y1, x2, y2), got ", shape_text(rois));
  }
  check_positions(op, "rois", rois, input);
  for (int64_t i = 0; i < 4; ++i) {
    if (input.size(i) > INT32_MAX) refuse(op, "input: expected sizes below 2^31, got ", shape_text(input));
  }
  if (rois.size(0) > INT32_MAX) refuse(op, "rois: expected fewer than 2^31 rows, got ", rois.size(0));
  if (input.size(2) * input.size(3) > INT32_MAX) {
    refuse(op, "input: expected fewer than 2^31 elements in a plane, got ", shape_text(input));
  }
}

inline void check_score_maps(const char* op, const Tensor& input, int64_t output_dim, int64_t group) {
  if (input.size(1) == output_dim * group * group) return;
  refuse(op, "input: expected output_dim * group_size^2 = ", output_dim * group * group, " channels, got ",
         input.size(1));
}

inline PsroiShape checked_psroi_shape(const char* op, const Tensor& input, const Tensor& rois, int64_t output_dim,
                                      int64_t pooled_size, std::optional<int64_t> group_size) {
  check_map_and_rois(op, input, rois);
  const int dim = checked_positive(op, "output_dim", output_dim);
  const int pooled = checked_positive(op, "pooled_size", pooled_size);
  const int group = checked_positive(op, "group_size", group_size.value_or(pooled_size));
  check_score_maps(op, input, output_dim, group);
  const auto to_int = [](int64_t value) { return static_cast<int>(value); };
  return {to_int(input.size(0)), to_int(input.size(1)), to_int(input.size(2)), to_int(input.size(3)),
          to_int(rois.size(0)),  dim,                   group,                 pooled};
}

inline RoiPoolShape checked_roi_pool_shape(const char* op, const Tensor& input, const Tensor& rois,
                                           const Sizes& pooled) {
  check_map_and_rois(op, input, rois);
  if (pooled.size() != 2) refuse(op, "pooled_size: expected a side or (height, width), got ", pooled.size(), " sides");
  const int height = checked_positive(op, "pooled_size", pooled[0]);
  const int width = checked_positive(op, "pooled_size", pooled[1]);
  const auto to_int = [](int64_t value) { return static_cast<int>(value); };
  return {to_int(input.size(0)), to_int(input.size(1)), to_int(input.size(2)), to_int(input.size(3)),
          to_int(rois.size(0)),  height,                width};
}

// Shape of the backward pass, read off argmax; grad has argmax's shape.
inline RoiPoolShape checked_roi_pool_argmax(const char* op, const Tensor& grad, const Tensor& input, const Tensor& rois,
                                            const Tensor& argmax) {
  check_map_and_rois(op, input, rois);
  if (argmax.dim() != 4 || argmax.scalar_type() != ScalarType::Int || argmax.size(0) != rois.size(0) ||
      argmax.size(1) != input.size(1)) {
    refuse(op, "argmax: expected [", rois.size(0), ", ", input.size(1), ", P, P] in int32, got ", shape_text(argmax));
  }
  check_device(op, "argmax", argmax, input);
  check_grad(op, grad, input, sizes_of(argmax));
  return checked_roi_pool_shape(op, input, rois, {argmax.size(2), argmax.size(3)});
}

inline DeformPsroiShape checked_deform_psroi_shape(const char* op, const Tensor& input, const Tensor& rois,
                                                   const std::optional<Tensor>& offset, int64_t output_dim,
                                                   int64_t group_size, int64_t pooled_size,
                                                   std::optional<int64_t> part_size, int64_t sample_per_part) {
  const PsroiShape maps = checked_psroi_shape(op, input, rois, output_dim, pooled_size, group_size);
  const int part = checked_positive(op, "part_size", part_size.value_or(pooled_size));
  const int samples = checked_positive(op, "sample_per_part", sample_per_part);
  int64_t classes = 1;
  if (offset) {
    const Tensor& o = *offset;
    if (o.dim() != 4 || o.size(0) != rois.size(0) || o.size(1) < 2 || o.size(1) % 2 || o.size(2) != part ||
        o.size(3) != part) {
      refuse(op, "offset: expected [", rois.size(0), ", 2 * classes, ", part, ", ", part, "], got ", shape_text(o));
    }
    classes = o.size(1) / 2;
    if (output_dim % classes) {
      refuse(op, "offset: expected a number of classes that divides output_dim ", output_dim, ", got ", classes);
    }
    check_positions(op, "offset", o, input);
  }
  return {maps.num_images, maps.channels, maps.height, maps.width, maps.num_rois,           maps.output_dim,
          maps.group,      maps.pooled,   part,        samples,    static_cast<int>(classes)};
}

}  // namespace dcn
