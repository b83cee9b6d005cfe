// Types of the CPU kernels.
#pragma once

#include "arguments/tensors.h"

namespace dcn::cpu {

// Contents undefined; of `input`'s type and on its device.
inline Tensor empty_like_format(const Tensor& input, const Sizes& sizes, bool channels_last) {
  return torch::stable::empty(sizes, input.scalar_type(), std::nullopt, input.device(), std::nullopt,
                              channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

// f(T()) with T the element type of `t`, which the caller has checked to be float32 or float64.
template <class F>
inline auto by_type(const Tensor& t, F f) {
  return t.scalar_type() == ScalarType::Double ? f(double()) : f(float());
}

}  // namespace dcn::cpu
