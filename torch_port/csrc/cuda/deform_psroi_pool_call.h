// One checked call of deform_psroi_pool or its backward, handed from cuda/deform_psroi_pool.cu to the kernels.
#pragma once

#include <optional>

#include "core/deform_psroi_pool.h"
#include "cuda/arguments.h"

namespace dcn::cuda {

// Contiguous tensors; rois and offset of the type of sums. No dimension is empty.
struct DeformPsroiCall {
  const char* name;
  DeformPsroiShape shape;
  double spatial_scale, trans_std;
  Tensor input, rois;
  std::optional<Tensor> offset;
};

constexpr int64_t MOST_LIST_BYTES = 48 * 1024;  // of shared memory, which every device gives without being asked

// Channels innermost, samples merged; false where a shape does not suit, and then nothing is launched. for_input is of
// the data type, for_offset of the type of sums; every element is written. None where nobody asked.
bool deform_psroi_fused_forward(const DeformPsroiCall& call, Tensor& output);
bool deform_psroi_fused_backward(const DeformPsroiCall& call, const Tensor& grad, std::optional<Tensor>& for_input,
                                 std::optional<Tensor>& for_offset);

}  // namespace dcn::cuda
