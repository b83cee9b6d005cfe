// What every CUDA kernel of the library is launched with: the device, the current stream, a one-dimensional grid.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace dcn::cuda {

// PyTorch's current stream on `device`; throws where the PyTorch that loaded this library has no CUDA.
cudaStream_t current_stream(int device);

// Throws std::runtime_error with `what` and CUDA's words, unless `status` is success.
void check(cudaError_t status, const char* what);

// Makes the tensor's device current for a scope and names the stream to launch on.
class Launch {
 public:
  explicit Launch(const torch::stable::Tensor& on)
      : guard_(on.get_device()), stream_(current_stream(on.get_device())) {}

  cudaStream_t stream() const { return stream_; }

#if defined(__CUDACC__)
  // kernel(arguments...) with at least `count` threads: each kernel walks its elements from
  // first_element() in steps of element_step().
  template <class Kernel, class... Arguments>
  void over(const char* what, int64_t count, Kernel kernel, const Arguments&... arguments) const {
    if (count == 0) return;
    constexpr int THREADS = 256;
    constexpr int64_t MOST_BLOCKS = 1 << 20;
    const int64_t wanted = (count + THREADS - 1) / THREADS;
    const int blocks = static_cast<int>(wanted < MOST_BLOCKS ? wanted : MOST_BLOCKS);
    kernel<<<blocks, THREADS, 0, stream_>>>(arguments...);
    check(cudaGetLastError(), what);
  }
#endif

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

#if defined(__CUDACC__)
// for (int64_t i = first_element(); i < count; i += element_step()): the elements of this thread, in 64 bits.
__device__ __forceinline__ int64_t first_element() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t element_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }
#endif

}  // namespace dcn::cuda
