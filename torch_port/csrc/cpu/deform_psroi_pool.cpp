// deform_psroi_pool on the CPU: schema, checks, threads. The arithmetic is core/deform_psroi_pool.h.
#include "cpu/deform_psroi_pool.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "cpu/deform_psroi_pool_plain.h"
#include "cpu/kernel_choice.h"
#include "cpu/roi_arguments.h"

namespace dcn::cpu {
namespace {

constexpr const char* NAME = "deform_psroi_pool";

bool is_empty(const DeformPsroiShape& s) { return s.num_rois == 0 || s.num_images == 0 || s.height * s.width == 0; }

// Group and part cell of every bin.
template <class T>
struct BinCells {
  std::vector<int> group, part;

  explicit BinCells(const DeformPsroiShape& s) {
    for (int bin = 0; bin < s.pooled; ++bin) {
      group.push_back(group_cell<T>(bin, s.pooled, s.group));
      part.push_back(part_cell<T>(bin, s.pooled, s.part));
    }
  }
};

// The vector kernels address an image and a RoI's offsets by 32 bits.
bool vector_kernels_fit(const DeformPsroiShape& s) {
  const int64_t image = static_cast<int64_t>(s.channels) * s.height * s.width;
  const int64_t offsets = static_cast<int64_t>(s.num_classes) * 2 * s.part * s.part;
  const int64_t bins = static_cast<int64_t>(s.output_dim) * s.pooled * s.pooled;
  return chosen_isa() != Isa::plain && std::max({image, offsets, bins}) <= 2147483647;
}

template <class T>
DeformPsroiArrays<T> arrays(const DeformPsroiShape& shape, const BinCells<T>& cells, const Tensor& input,
                            const Tensor& rois, const std::optional<Tensor>& offset, double spatial_scale,
                            double trans_std) {
  check_images(NAME, rois.const_data_ptr<T>(), shape.num_rois, shape.num_images);
  return {shape,
          mxnet_parameter<T>(spatial_scale),
          mxnet_parameter<T>(trans_std),
          input.const_data_ptr<T>(),
          rois.const_data_ptr<T>(),
          offset ? offset->const_data_ptr<T>() : nullptr,
          nullptr,
          nullptr,
          nullptr,
          cells.group.data(),
          cells.part.data()};
}

template <class T>
void run_forward(DeformPsroiArrays<T> a, Tensor& output) {
  a.output = output.mutable_data_ptr<T>();
  if (is_empty(a.shape)) {
    torch::stable::zero_(output);
    return;
  }
  const DeformPsroiForward<T> variants[3] = DCN_VARIANTS(deform_psroi_forward);
  const DeformPsroiForward<T> forward =
      vector_kernels_fit(a.shape) ? kernel_for_isa(variants) : deform_psroi_forward_plain<T>;
  torch::stable::parallel_for(0, static_cast<int64_t>(a.shape.num_rois) * a.shape.output_dim, 8,
                              [&](int64_t begin, int64_t end) { forward(a, begin, end); });
}

template <class T>
void run_backward(DeformPsroiArrays<T> a, const Tensor& grad, Tensor& for_input, Tensor& for_offset) {
  if (is_empty(a.shape)) return;
  a.output = const_cast<T*>(grad.const_data_ptr<T>());  // only read
  a.grad_input = for_input.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, static_cast<int64_t>(a.shape.output_dim) * a.shape.group, 1,
                              [&](int64_t begin, int64_t end) { deform_psroi_grad_input(a, begin, end); });
  if (!a.offset) return;
  a.grad_offset = for_offset.mutable_data_ptr<T>();
  const DeformPsroiGradOffset<T> variants[3] = DCN_VARIANTS(deform_psroi_grad_offset);
  const DeformPsroiGradOffset<T> grad_offset =
      vector_kernels_fit(a.shape) ? kernel_for_isa(variants) : deform_psroi_grad_offset_plain<T>;
  torch::stable::parallel_for(0, static_cast<int64_t>(a.shape.num_rois) * a.shape.num_classes, 1,
                              [&](int64_t begin, int64_t end) { grad_offset(a, begin, end); });
}

Tensor deform_psroi_pool(const Tensor& input, const Tensor& rois, const std::optional<Tensor>& offset,
                         double spatial_scale, int64_t output_dim, int64_t group_size, int64_t pooled_size,
                         std::optional<int64_t> part_size, int64_t sample_per_part, double trans_std) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  const Tensor x = torch::stable::contiguous(input), r = torch::stable::contiguous(rois);
  const std::optional<Tensor> o = dense(offset);
  Tensor output = torch::stable::new_empty(x, {rois.size(0), output_dim, pooled_size, pooled_size});
  if (input.scalar_type() == ScalarType::Float) {
    run_forward(arrays<float>(shape, BinCells<float>(shape), x, r, o, spatial_scale, trans_std), output);
  } else {
    run_forward(arrays<double>(shape, BinCells<double>(shape), x, r, o, spatial_scale, trans_std), output);
  }
  return in_format_of(output, input);
}

std::tuple<Tensor, Tensor> deform_psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois,
                                                      const std::optional<Tensor>& offset, double spatial_scale,
                                                      int64_t output_dim, int64_t group_size, int64_t pooled_size,
                                                      std::optional<int64_t> part_size, int64_t sample_per_part,
                                                      double trans_std) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  const Tensor x = torch::stable::contiguous(input), r = torch::stable::contiguous(rois);
  const Tensor g = torch::stable::contiguous(grad);
  const std::optional<Tensor> o = dense(offset);
  Tensor for_input = torch::stable::new_zeros(x, {input.size(0), input.size(1), input.size(2), input.size(3)});
  Tensor for_offset = o ? torch::stable::new_zeros(*o, {o->size(0), o->size(1), o->size(2), o->size(3)})
                        : torch::stable::new_zeros(x, {0});
  if (input.scalar_type() == ScalarType::Float) {
    run_backward(arrays<float>(shape, BinCells<float>(shape), x, r, o, spatial_scale, trans_std), g, for_input, for_offset);
  } else {
    run_backward(arrays<double>(shape, BinCells<double>(shape), x, r, o, spatial_scale, trans_std), g, for_input, for_offset);
  }
  return {in_format_of(for_input, input), for_offset};
}

}  // namespace
}  // namespace dcn::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def(
      "deform_psroi_pool(Tensor input, Tensor rois, Tensor? offset=None, *, float spatial_scale, int output_dim, "
      "int group_size, int pooled_size, int? part_size=None, int sample_per_part=1, float trans_std=0.0) -> Tensor");
  m.def(
      "deform_psroi_pool_backward(Tensor grad, Tensor input, Tensor rois, Tensor? offset, *, float spatial_scale, "
      "int output_dim, int group_size, int pooled_size, int? part_size=None, int sample_per_part=1, "
      "float trans_std=0.0) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) {
  m.impl("deform_psroi_pool", TORCH_BOX(&dcn::cpu::deform_psroi_pool));
  m.impl("deform_psroi_pool_backward", TORCH_BOX(&dcn::cpu::deform_psroi_pool_backward));
}
