// deform_psroi_pool on the CPU: schema, checks, threads. The arithmetic is core/deform_psroi_pool.h.
#include "cpu/deform_psroi_pool.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "cpu/deform_psroi_pool_plain.h"
#include "cpu/kernel_choice.h"
#include "cpu/roi_maps.h"

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

// One call in memory; the gradients that nobody asked for are null.
template <class T>
DeformPsroiArrays<T> arrays(const DeformPsroiShape& shape, const BinCells<T>& cells, const Tensor& input,
                            const Tensor& rois, const std::optional<Tensor>& offset, const Tensor& pooled,
                            double spatial_scale, double trans_std) {
  check_images(NAME, rois.const_data_ptr<T>(), shape.num_rois, shape.num_images);
  return {shape,
          strides_of(input),
          strides_of(pooled),
          mxnet_parameter<T>(spatial_scale),
          mxnet_parameter<T>(trans_std),
          input.const_data_ptr<T>(),
          rois.const_data_ptr<T>(),
          offset ? offset->const_data_ptr<T>() : nullptr,
          const_cast<T*>(pooled.const_data_ptr<T>()),  // written by the forward kernels only
          nullptr,
          nullptr,
          cells.group.data(),
          cells.part.data()};
}

template <class T>
void run_forward(const DeformPsroiArrays<T>& a) {
  const DeformPsroiForward<T> variants[3] = DCN_VARIANTS(deform_psroi_forward);
  const DeformPsroiForward<T> forward =
      vector_kernels_fit(a.shape) ? kernel_for_isa(variants) : deform_psroi_forward_plain<T>;
  torch::stable::parallel_for(0, static_cast<int64_t>(a.shape.num_rois) * a.shape.output_dim, 8,
                              [&](int64_t begin, int64_t end) { forward(a, begin, end); });
}

template <class T>
void run_backward(const DeformPsroiArrays<T>& a) {
  if (a.grad_input != nullptr) {
    const RoiWindows<T> rois(a);
    const std::vector<CellRange> bins_of = bins_of_groups<T>(a.shape.pooled, a.shape.group);
    torch::stable::parallel_for(0, a.shape.channels, 1, [&](int64_t begin, int64_t end) {
      deform_psroi_grad_input(a, rois, bins_of, begin, end);
    });
  }
  if (a.grad_offset == nullptr) return;
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
  const Tensor x = in_either_format(input), r = dense(rois);
  const std::optional<Tensor> o = dense(offset);
  Tensor output = empty_in_format_of(input, {rois.size(0), output_dim, pooled_size, pooled_size});
  by_type(input, [&](auto zero) {
    using T = decltype(zero);
    const BinCells<T> cells(shape);
    const DeformPsroiArrays<T> a = arrays<T>(shape, cells, x, r, o, output, spatial_scale, trans_std);
    if (is_empty(shape)) {
      torch::stable::zero_(output);
    } else {
      run_forward(a);
    }
  });
  return output;
}

std::tuple<Tensor, Tensor> deform_psroi_pool_backward(const Tensor& grad, const Tensor& input, const Tensor& rois,
                                                      const std::optional<Tensor>& offset, double spatial_scale,
                                                      int64_t output_dim, int64_t group_size, int64_t pooled_size,
                                                      std::optional<int64_t> part_size, int64_t sample_per_part,
                                                      double trans_std, bool want_input, bool want_offset) {
  const DeformPsroiShape shape =
      checked_deform_psroi_shape(NAME, input, rois, offset, output_dim, group_size, pooled_size, part_size,
                                 sample_per_part);
  check_grad(NAME, grad, input, {rois.size(0), output_dim, pooled_size, pooled_size});
  want_offset = want_offset && offset.has_value();
  const Tensor x = in_either_format(input), g = in_either_format(grad), r = dense(rois);
  const std::optional<Tensor> o = dense(offset);
  const Sizes none = {0};
  Tensor for_input = want_input ? empty_in_format_of(input, sizes_of(input)) : torch::stable::new_empty(input, none);
  Tensor for_offset = torch::stable::new_zeros(input, want_offset ? sizes_of(*offset) : none);
  torch::stable::zero_(for_input);
  by_type(input, [&](auto zero) {
    using T = decltype(zero);
    const BinCells<T> cells(shape);
    DeformPsroiArrays<T> a = arrays<T>(shape, cells, x, r, o, g, spatial_scale, trans_std);
    a.grad_input = want_input ? for_input.mutable_data_ptr<T>() : nullptr;
    a.grad_offset = want_offset ? for_offset.mutable_data_ptr<T>() : nullptr;
    if (!is_empty(shape)) run_backward(a);
  });
  return {for_input, for_offset};
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
      "float trans_std=0.0, bool want_input=True, bool want_offset=True) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) {
  m.impl("deform_psroi_pool", TORCH_BOX(&dcn::cpu::deform_psroi_pool));
  m.impl("deform_psroi_pool_backward", TORCH_BOX(&dcn::cpu::deform_psroi_pool_backward));
}
