#include "cuda/launch.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace dcn::cuda {
namespace {

// The C shim of every PyTorch since 2.1, in libtorch_cuda.so. Looked up instead of linked: the library then loads (and
// its registrations can be tested) on a PyTorch without CUDA, and needs nothing newer than the stable ABI of 2.10
// (the stable Stream class hands out its native handle only from 2.13 on).
using GetStream = int32_t (*)(int32_t device, void** stream);

GetStream find_get_stream() {
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return nullptr;
  return reinterpret_cast<GetStream>(dlsym(library, "aoti_torch_get_current_cuda_stream"));
}

}  // namespace

cudaStream_t current_stream(int device) {
  static const GetStream get_stream = find_get_stream();
  if (get_stream == nullptr) {
    throw std::runtime_error("dcn: expected a PyTorch built with CUDA, got one without: install a CUDA wheel");
  }
  check(cudaSetDevice(device),
        "device");  // of this library's own runtime, which is linked statically: PyTorch's is another
  void* stream = nullptr;
  if (get_stream(device, &stream) != 0) {
    throw std::runtime_error("dcn: no current CUDA stream on device " + std::to_string(device));
  }
  return static_cast<cudaStream_t>(stream);
}

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("dcn: ") + what + ": CUDA says " + cudaGetErrorName(status) + ": " +
                           cudaGetErrorString(status));
}

}  // namespace dcn::cuda
