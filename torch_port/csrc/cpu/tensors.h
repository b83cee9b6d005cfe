// Types of the CPU kernels.
#pragma once

#include "arguments/tensors.h"
#include "cpu/memory.h"

namespace dcn::cpu {

// Contents undefined; of `input`'s type and on its device.
inline Tensor empty_like_format(const Tensor& input, const Sizes& sizes, bool channels_last) {
  const int64_t channels = sizes[1], width = sizes[3], pixels = sizes[2] * width;
  const int64_t contiguous[4] = {channels * pixels, pixels, width, 1};
  const int64_t last[4] = {channels * pixels, 1, width * channels, channels};
  int32_t type = 0;
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(input.get(), &type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(4, sizes.data(), channels_last ? last : contiguous, type,
                                                         aoti_torch_device_type_cpu(), 0, &handle));
  Tensor result(handle);
  advise_huge_pages(result.mutable_data_ptr(), static_cast<size_t>(result.numel()) * result.element_size());
  return result;
}

// f(T()) with T the element type of `t`, which the caller has checked to be float32 or float64.
template <class F>
inline auto by_type(const Tensor& t, F f) {
  return t.scalar_type() == ScalarType::Double ? f(double()) : f(float());
}

}  // namespace dcn::cpu
