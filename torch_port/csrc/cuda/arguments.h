// Types of the CUDA kernels and what their entry points do with tensors; checks are those of every device.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "arguments/tensors.h"

namespace dcn::cuda {

// Coordinates, weights and sums: float32 for the three small types, float64 for float64.
template <class S>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

template <class S>
struct TypeTag {
  using Data = S;
  using Sum = typename Accumulator<S>::type;
};

// f(TypeTag<S>) for the data type of `t`.
template <class F>
inline void for_type_of(const char* op, const char* argument, const Tensor& t, F f) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return f(TypeTag<float>{});
    case ScalarType::Double: return f(TypeTag<double>{});
    case ScalarType::Half: return f(TypeTag<__half>{});
    case ScalarType::BFloat16: return f(TypeTag<__nv_bfloat16>{});
    default: refuse(op, argument, ": expected float32, float64, float16 or bfloat16, got ", dtype_text(t));
  }
}

template <class S>
inline const S* read(const Tensor& t) {
  return static_cast<const S*>(t.const_data_ptr());
}
template <class S>
inline S* write(Tensor& t) {
  return static_cast<S*>(t.mutable_data_ptr());
}

// On the device of `like`, contents undefined.
inline Tensor uninitialised(const Tensor& like, const Sizes& sizes, ScalarType type) {
  return torch::stable::new_empty(like, sizes, type);
}

// t as contiguous values of the type in which its consumer sums.
inline Tensor widened(const Tensor& t, ScalarType type) {
  return torch::stable::contiguous(t.scalar_type() == type ? t : torch::stable::to(t, type));
}
inline Tensor narrowed(const Tensor& t, const Tensor& like) {
  return t.scalar_type() == like.scalar_type() ? t : torch::stable::to(t, like.scalar_type());
}

// Set by cuda/switches.cpp. Whether sums are to repeat bit for bit (torch.use_deterministic_algorithms); whether
// float32 products may be rounded to TF32; whether calls may take the fused kernels.
bool deterministic();
bool tf32_allowed();
bool fused_allowed();

}  // namespace dcn::cuda
