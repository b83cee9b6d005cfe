// Kernels around fixed_point.h that more than one operator launches.
#pragma once

#include "cuda/fused/fixed_point.h"
#include "cuda/launch.h"

namespace dcn::cuda::fused {

// values: an array, or what reads like one.
template <class Values>
__device__ void bound(const Values& values, int64_t count, unsigned* largest) {
  float most = 0;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const float size = finite_size(static_cast<float>(values[i]));
    most = size > most ? size : most;
  }
  if (most > 0) simt::keep_largest(largest, most);
}
template <class S>
__global__ void bound_values(const S* values, int64_t count, unsigned* largest) {
  bound(values, count, largest);
}

// What was not finite stands in `to` already.
static __global__ void add_fixed_point(const int64_t* from, const int* exponent, float* to, int64_t count) {
  for (int64_t i = first_element(); i < count; i += element_step()) to[i] += from_fixed(from[i], *exponent);
}

// For kernels of which each thread walks many elements and then tells the others once.
constexpr int64_t MOST_WALKERS = 1 << 16;
inline int64_t walkers(int64_t count) { return count < MOST_WALKERS ? count : MOST_WALKERS; }

}  // namespace dcn::cuda::fused
