// Argument checks and type dispatch that the CUDA operators share. Messages say operator, argument, expected, got, in
// the words of the CPU library, which owns the schemas.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace dcn::cuda {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
[[noreturn]] inline void refuse(const char* op, const Parts&... parts) {
  std::ostringstream text;
  text << op << ": ";
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

inline std::string shape_text(const Tensor& t) {
  std::ostringstream text;
  text << "[";
  for (int64_t i = 0; i < t.dim(); ++i) text << (i ? ", " : "") << t.size(i);
  text << "]";
  return text.str();
}

inline const char* dtype_text(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    default: return "another type";
  }
}

// Coordinates, weights and sums: float32 for the three small types, float64 for float64.
template <class S>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
inline ScalarType accumulator_type(const Tensor& t) {
  return t.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

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
    default: refuse(op, argument, ": expected float32, float64, float16 or bfloat16, got another type");
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

inline void check_device(const char* op, const char* argument, const Tensor& t, const Tensor& input) {
  if (!t.is_cuda() || t.get_device() != input.get_device()) {
    refuse(op, argument, ": expected input's device, cuda:", static_cast<int>(input.get_device()), ", got another");
  }
}

using Sizes = std::vector<int64_t>;

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

inline bool is_channels_last(const Tensor& t) {
  if (t.dim() != 4 || t.is_contiguous()) return false;
  return t.stride(1) == 1 && t.stride(3) == t.size(1) && t.stride(2) == t.size(1) * t.size(3) &&
         t.stride(0) == t.size(1) * t.size(2) * t.size(3);
}
// Gives `t` the memory format of `like`: channels_last in, channels_last out.
inline Tensor in_format_of(const Tensor& t, const Tensor& like) {
  return is_channels_last(like) ? torch::stable::contiguous(t, MemoryFormat::ChannelsLast) : t;
}

// Whether torch.use_deterministic_algorithms asks for sums in a fixed order; told by dcn::set_cuda_deterministic,
// because the stable ABI has no way to ask.
bool deterministic();

}  // namespace dcn::cuda
