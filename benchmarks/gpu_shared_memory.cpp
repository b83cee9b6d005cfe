// Shared memory of the fused kernels' blocks, in bytes: g++ -std=c++20 -Itorch_port/csrc benchmarks/gpu_shared_memory.cpp
#include <cstdio>

#include "cuda/fused/forward.h"
#include "cuda/fused/samples_backward.h"
#include "cuda/fused/weight_backward.h"

using namespace dcn::cuda::fused;

struct TwoBytes {
  short bits;
};

int main() {
  std::printf("fused_forward 128, 256 %zu\n", sizeof(ForwardShared<128, 256>));
  std::printf("fused_forward 128, 64 %zu\n", sizeof(ForwardShared<128, 64>));
  std::printf("fused_forward 64, 128 %zu\n", sizeof(ForwardShared<64, 128>));
  std::printf("fused_samples 128 %zu\n", sizeof(SamplesShared<128>));
  std::printf("fused_samples 64 %zu\n", sizeof(SamplesShared<64>));
  std::printf("fused_weight Small 256 %zu\n", sizeof(WeightShared<TwoBytes, 256>));
  std::printf("fused_weight Small 128 %zu\n", sizeof(WeightShared<TwoBytes, 128>));
  std::printf("fused_weight Tf32 256 %zu\n", sizeof(WeightShared<float, 256>));
  std::printf("fused_weight Tf32 128 %zu\n", sizeof(WeightShared<float, 128>));
  std::printf("fused_weight Float32 128 %zu\n", sizeof(WeightShared<float, 128>));
}
