// The kernel of roi_pool that is compiled once per instruction set, and what it is handed.
#pragma once

#include <cstdint>

#include "core/roi_pool.h"
#include "cpu/strides.h"

namespace dcn::cpu {

constexpr int64_t ROI_POOL_BLOCK = 64;  // channels of one unit of work

template <class T>
struct RoiPoolArrays {
  RoiPoolShape shape;
  T spatial_scale;
  const T* input;  // [N, H, W, C]
  const T* rois;   // [R, 5]
  T* output;       // [R, C, P, P] or, like argmax, [R, P, P, C]
  int* argmax;     // cells, whatever the format
  Strides pooled;  // of both
};

// Units [begin, end) of (RoI, block of channels).
template <class T>
using RoiPoolForward = void (*)(const RoiPoolArrays<T>&, int64_t begin, int64_t end);

// cpu/simd/roi_pool_channels.cpp
#define DCN_DECLARE(isa)                                                  \
  namespace isa {                                                         \
  void roi_pool_forward(const RoiPoolArrays<float>&, int64_t, int64_t);   \
  void roi_pool_forward(const RoiPoolArrays<double>&, int64_t, int64_t);  \
  }
DCN_DECLARE(portable)
DCN_DECLARE(avx2)
DCN_DECLARE(avx512)
#undef DCN_DECLARE

}  // namespace dcn::cpu
