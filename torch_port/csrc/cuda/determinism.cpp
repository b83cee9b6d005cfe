// dcn::set_cuda_deterministic: torch.use_deterministic_algorithms, carried to the kernels.
#include <torch/csrc/stable/library.h>

#include <atomic>

#include "cuda/arguments.h"

namespace dcn::cuda {
namespace {

std::atomic<bool> wanted{false};

bool set_cuda_deterministic(bool on) { return wanted.exchange(on); }

}  // namespace

bool deterministic() { return wanted.load(); }

}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) { m.def("set_cuda_deterministic(bool on) -> bool"); }
STABLE_TORCH_LIBRARY_IMPL(dcn, CompositeExplicitAutograd, m) {
  m.impl("set_cuda_deterministic", TORCH_BOX(&dcn::cuda::set_cuda_deterministic));
}
