// What the entry points of every operator, on every device, need of a tensor, and how they refuse one: operator,
// argument, expected, got.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace dcn {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Sizes = std::vector<int64_t>;

template <class... Parts>
[[noreturn]] inline void refuse(const char* operator_name, const Parts&... parts) {
  std::ostringstream text;
  text << operator_name << ": ";
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

inline std::string shape_text(const Sizes& sizes) {
  std::ostringstream text;
  text << "[";
  for (size_t i = 0; i < sizes.size(); ++i) text << (i ? ", " : "") << sizes[i];
  text << "]";
  return text.str();
}
inline Sizes sizes_of(const Tensor& t) {
  Sizes sizes;
  for (int64_t i = 0; i < t.dim(); ++i) sizes.push_back(t.size(i));
  return sizes;
}
inline std::string shape_text(const Tensor& t) { return shape_text(sizes_of(t)); }
inline bool has_shape(const Tensor& t, const Sizes& expected) { return sizes_of(t) == expected; }

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

inline bool is_float32_or_float64(const Tensor& t) {
  return t.scalar_type() == ScalarType::Float || t.scalar_type() == ScalarType::Double;
}

// Type of coordinates and sums: float64 for float64 maps, float32 for all others.
inline ScalarType accumulator_type(const Tensor& t) {
  return t.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline std::string device_text(const Tensor& t) {
  return t.is_cpu() ? "cpu" : (t.is_cuda() ? "cuda:" : "device ") + std::to_string(static_cast<int>(t.get_device()));
}

inline void check_device(const char* op, const char* name, const Tensor& t, const Tensor& input) {
  if (t.is_cpu() != input.is_cpu() || t.is_cuda() != input.is_cuda() || t.get_device() != input.get_device()) {
    refuse(op, name, ": expected input's device, ", device_text(input), ", got ", device_text(t));
  }
}

inline void check_companion(const char* op, const char* name, const Tensor& t, const Tensor& input) {
  if (t.scalar_type() != input.scalar_type()) {
    refuse(op, name, ": expected input's dtype ", dtype_text(input), ", got ", dtype_text(t));
  }
  check_device(op, name, t, input);
}

// Positions deserve the bits: beside a float16 or bfloat16 map they may also come in float32.
inline void check_positions(const char* op, const char* name, const Tensor& t, const Tensor& input) {
  if (t.scalar_type() == accumulator_type(input)) return check_device(op, name, t, input);
  check_companion(op, name, t, input);
}

inline void check_grad(const char* op, const Tensor& grad, const Tensor& input, const Sizes& expected) {
  if (!has_shape(grad, expected)) {
    refuse(op, "grad: expected ", shape_text(expected), ", got ", shape_text(grad));
  }
  check_companion(op, "grad", grad, input);
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

}  // namespace dcn
