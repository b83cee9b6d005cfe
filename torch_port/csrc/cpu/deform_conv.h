// What the kernels of deform_conv2d are handed, and the kernels there are.
#pragma once

#include <cstdint>

#include "core/deform_conv.h"

namespace dcn::cpu {

// Contiguous arrays. Null: mask and bias where there is none, every gradient
// that nobody asked for. C: of coordinates and mask, float32 where T is
// bfloat16.
template <class T, class C = T>
struct DeformConvArrays {
  DeformConvShape shape;
  Border border;
  const T* input;   // [N, C, H, W]
  const C* offset;  // [N, G*K*2, OH, OW]
  const C* mask;    // [N, G*K, OH, OW]
  const T* weight;  // [O, C/groups, K]
  const T* bias;    // [O]
  const T* grad;    // [N, O, OH, OW]
  T* output;        // [N, O, OH, OW]
  T* grad_input;    // gradients come zero-filled
  C* grad_offset;
  C* grad_mask;
  T* grad_weight;
  T* grad_bias;
};

// cpu/deform_conv_plain.cpp: core's functions in plain loops. Slow; what the
// fast paths are tested against. channels_last: of output; other tensors are
// contiguous.
template <class T>
void plain_deform_conv_forward(const DeformConvArrays<T>&, bool channels_last);
template <class T>
void plain_deform_conv_backward(const DeformConvArrays<T>&);

}  // namespace dcn::cpu
