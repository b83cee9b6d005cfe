// What the convolutions' CPU entry points need of a tensor, and how they refuse one: operator, argument, expected, got.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

namespace dcn::cpu::tensors {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
[[noreturn]] inline void refuse(const char* operator_name, const Parts&... parts) {
  std::ostringstream text;
  text << operator_name << ": ";
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

inline std::string dtype_text(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Long: return "int64";
    case ScalarType::Int: return "int32";
    default: return "dtype number " + std::to_string(static_cast<int>(t.scalar_type()));
  }
}

inline bool has_shape(const Tensor& t, std::initializer_list<int64_t> expected) {
  if (t.dim() != static_cast<int64_t>(expected.size())) return false;
  int64_t i = 0;
  for (const int64_t size : expected) {
    if (t.size(i++) != size) return false;
  }
  return true;
}

inline bool is_channels_last(const Tensor& t) {
  if (t.dim() != 4 || t.is_contiguous()) return false;
  const int64_t channels = t.size(1), width = t.size(3);
  return t.stride(1) == 1 && (width == 1 || t.stride(3) == channels) &&
         (t.size(2) == 1 || t.stride(2) == channels * width) &&
         (t.size(0) == 1 || t.stride(0) == channels * width * t.size(2));
}

inline Tensor dense(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

inline std::optional<Tensor> dense(const std::optional<Tensor>& t) {
  return t ? std::optional<Tensor>(dense(*t)) : std::nullopt;
}

// `t` in the memory format of `like`: channels_last in, channels_last out.
inline Tensor in_format_of(const Tensor& t, const Tensor& like) {
  return is_channels_last(like) ? torch::stable::contiguous(t, MemoryFormat::ChannelsLast) : t;
}

// f<T>() with T the element type of `t`, which the caller has checked to be float32 or float64.
template <class F>
inline auto by_type(const Tensor& t, F f) {
  return t.scalar_type() == ScalarType::Double ? f(double()) : f(float());
}

}  // namespace dcn::cpu::tensors
