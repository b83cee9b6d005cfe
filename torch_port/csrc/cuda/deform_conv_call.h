// One checked call of deform_conv2d or its backward, handed from cuda/deform_conv.cpp to the kernels.
#pragma once

#include <optional>

#include "core/deform_conv.h"
#include "cuda/arguments.h"

namespace dcn::cuda {

// Tensors of the forward pass. offset, mask, weight and bias are contiguous; offset and mask of the map's type or,
// beside a small one, float32.
struct DeformConvCall {
  const char* name;
  DeformConvShape shape;
  Border border;
  Tensor input, offset, weight;
  std::optional<Tensor> mask, bias;
};

struct DeformConvWanted {
  bool input, offset, mask, weight;
};

// None where nobody asked. Each of the type of sums or of the data type; input in either memory format.
struct DeformConvGradients {
  std::optional<Tensor> input, offset, mask, weight;
};

// Any shape, any of the four types, one thread per result. output: contiguous [N, O, OH, OW].
void deform_conv_reference_forward(const DeformConvCall& call, Tensor& output);
void deform_conv_reference_backward(const DeformConvCall& call, const Tensor& grad, const DeformConvWanted& wanted,
                                    DeformConvGradients& gradients);

// Gather and multiply tile by tile, on tensor cores where the precision allows; false where the shape, type, alignment
// or device does not suit it, and then nothing is launched. output: dense memory of [N, O, OH, OW] or [N, OH, OW, O].
bool deform_conv_fused_forward(const DeformConvCall& call, Tensor& output, bool channels_last);
bool deform_conv_fused_backward(const DeformConvCall& call, const Tensor& grad, const DeformConvWanted& wanted,
                                DeformConvGradients& gradients);

inline bool is_fused_type(const Tensor& t) { return t.scalar_type() != ScalarType::Double; }

}  // namespace dcn::cuda
