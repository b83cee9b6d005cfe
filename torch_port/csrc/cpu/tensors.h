// Types of the CPU kernels.
#pragma once

#include "arguments/tensors.h"

namespace dcn::cpu {

// f(T()) with T the element type of `t`, which the caller has checked to be float32 or float64.
template <class F>
inline auto by_type(const Tensor& t, F f) {
  return t.scalar_type() == ScalarType::Double ? f(double()) : f(float());
}

}  // namespace dcn::cpu
