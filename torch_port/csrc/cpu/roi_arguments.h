// What only the CPU can check of RoIs: their values.
#pragma once

#include "arguments/roi_pooling.h"

namespace dcn::cpu {

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
