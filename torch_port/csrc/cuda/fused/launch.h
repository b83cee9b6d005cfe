// What the launches of the fused kernels share: choice of precision, copies with channels innermost, limits.
#pragma once

#include "cuda/deform_conv_call.h"
#include "cuda/fused/sample.h"
#include "cuda/launch.h"

namespace dcn::cuda {

// The part of the fused backward in deform_conv_fused_samples.cu: input, offsets and mask. channels_last: the input.
// grad: dense [N, OH, OW, O]. gradients: whichever are there; input as dense [N, H, W, C], zero-filled.
void deform_conv_fused_samples(const DeformConvCall& call, const Tensor& channels_last, const Tensor& grad,
                               DeformConvGradients& gradients);

namespace fused {

inline int attribute(cudaDeviceAttr which, const Tensor& on) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, on.get_device()), "device attribute");
  return value;
}
inline int multiprocessors(const Tensor& on) { return attribute(cudaDevAttrMultiProcessorCount, on); }
inline int most_shared_memory(const Tensor& on) { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, on); }
inline bool has_tensor_cores(const Tensor& on) { return attribute(cudaDevAttrComputeCapabilityMajor, on) >= 8; }

// f(precision) for the data type of `on`; false where no fused kernel serves it on this device.
template <class F>
bool with_precision(const Tensor& on, F f) {
  const ScalarType type = on.scalar_type();
  if (type == ScalarType::Float) {
    tf32_allowed() && has_tensor_cores(on) ? f(Tf32()) : f(Float32());
    return true;
  }
  if (!has_tensor_cores(on)) return false;  // mma.m16n8k16 came with Ampere
  if (type == ScalarType::Half) return f(Small<__half>()), true;
  if (type == ScalarType::BFloat16) return f(Small<__nv_bfloat16>()), true;
  return false;
}

// Channels come in whole 16-byte vectors in every group; an image and the weights are addressed in 31 bits.
inline bool channels_fit(const DeformConvShape& s, ScalarType type) {
  const int64_t vector = type == ScalarType::Float ? 4 : 8;
  return s.channels_per_group() % vector == 0 && s.channels_per_offset_group() % vector == 0 &&
         s.height * s.width < INT32_MAX / s.channels &&
         s.out_channels * s.taps() < INT32_MAX / s.channels_per_group();
}

inline bool aligned(const Tensor& t) { return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; }

template <class S>
Numbers<S> numbers_of(const Tensor& t) {
  const bool wide = t.scalar_type() == ScalarType::Float;
  return {wide ? read<float>(t) : nullptr, wide ? nullptr : read<S>(t)};
}
template <class S>
Source<S> source_of(const DeformConvCall& call, const Tensor& channels_last) {
  return {call.shape, call.border, read<S>(channels_last), numbers_of<S>(call.offset),
          call.mask ? numbers_of<S>(*call.mask) : Numbers<S>{nullptr, nullptr}};
}

// kernel<<<blocks, THREADS>>>(arguments...) with `bytes` of shared memory.
template <class Kernel, class... Arguments>
void launch_blocks(const char* what, const Launch& launch, Kernel kernel, dim3 blocks, int bytes,
                   const Arguments&... arguments) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), what);
  kernel<<<blocks, THREADS, bytes, launch.stream()>>>(arguments...);
  check(cudaGetLastError(), what);
}

inline dim3 grid(int64_t x, int64_t y, int64_t z) {
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}
constexpr int64_t MOST_BLOCKS_Y = 65535;

}  // namespace fused
}  // namespace dcn::cuda
