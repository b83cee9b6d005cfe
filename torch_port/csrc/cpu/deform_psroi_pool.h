// The kernels of deform_psroi_pool that are compiled once per instruction set, and what they are handed.
#pragma once

#include <cstdint>

#include "core/deform_psroi_pool.h"
#include "cpu/strides.h"

namespace dcn::cpu {

// offset: null without offsets; grad_*: null where nobody asked. Maps and pooled results in either format, the rest
// contiguous.
template <class T>
struct DeformPsroiArrays {
  DeformPsroiShape shape;
  Strides map, pooled;  // of input and grad_input; of output
  T spatial_scale, trans_std;
  const T* input;   // [N, channels, H, W]
  const T* rois;    // [R, 5]
  const T* offset;  // [R, 2 * classes, part, part]
  T* output;        // [R, D, P, P]; in the backward passes its gradient, only read
  T* grad_input;
  T* grad_offset;
  const int* group_cells;  // [pooled]: group_cell of every bin
  const int* part_cells;   // [pooled]: part_cell of every bin
};

// output rows [begin, end) of (RoI, output channel).
template <class T>
using DeformPsroiForward = void (*)(const DeformPsroiArrays<T>&, int64_t begin, int64_t end);
// grad_offset for rows [begin, end) of (RoI, offset class).
template <class T>
using DeformPsroiGradOffset = void (*)(const DeformPsroiArrays<T>&, int64_t begin, int64_t end);

// cpu/simd/deform_psroi_pool_lanes.cpp
#define DCN_DECLARE(isa)                                                                     \
  namespace isa {                                                                            \
  void deform_psroi_forward(const DeformPsroiArrays<float>&, int64_t, int64_t);              \
  void deform_psroi_forward(const DeformPsroiArrays<double>&, int64_t, int64_t);             \
  void deform_psroi_grad_offset(const DeformPsroiArrays<float>&, int64_t, int64_t);          \
  void deform_psroi_grad_offset(const DeformPsroiArrays<double>&, int64_t, int64_t);         \
  }
DCN_DECLARE(portable)
DCN_DECLARE(avx2)
DCN_DECLARE(avx512)
#undef DCN_DECLARE

}  // namespace dcn::cpu
