// What torch_port/ops/library.py tells the CUDA kernels before each call, because the stable ABI has no way to ask:
// torch.use_deterministic_algorithms, and whether float32 products may be rounded to TF32. And what tests and timings
// turn off: the fused kernels, to compare with the plain ones.
#include <torch/csrc/stable/library.h>

#include <atomic>

#include "cuda/arguments.h"

namespace dcn::cuda {
namespace {

std::atomic<bool> deterministic_wanted{false}, tf32_wanted{false}, fused_wanted{true};

// Each returns what was set before.
bool set_cuda_deterministic(bool on) { return deterministic_wanted.exchange(on); }
bool set_cuda_tf32(bool on) { return tf32_wanted.exchange(on); }
bool set_cuda_fused(bool on) { return fused_wanted.exchange(on); }

}  // namespace

bool deterministic() { return deterministic_wanted.load(); }
bool tf32_allowed() { return tf32_wanted.load(); }
bool fused_allowed() { return fused_wanted.load(); }

}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def("set_cuda_deterministic(bool on) -> bool");
  m.def("set_cuda_tf32(bool on) -> bool");
  m.def("set_cuda_fused(bool on) -> bool");
}
STABLE_TORCH_LIBRARY_IMPL(dcn, CompositeExplicitAutograd, m) {
  m.impl("set_cuda_deterministic", TORCH_BOX(&dcn::cuda::set_cuda_deterministic));
  m.impl("set_cuda_tf32", TORCH_BOX(&dcn::cuda::set_cuda_tf32));
  m.impl("set_cuda_fused", TORCH_BOX(&dcn::cuda::set_cuda_fused));
}
