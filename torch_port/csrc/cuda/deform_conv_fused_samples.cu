// Launches the fused backward of deform_conv2d for input, offsets and mask.
#include "cuda/fused/fixed_point.cuh"
#include "cuda/fused/launch.h"
#include "cuda/fused/samples_backward.h"

namespace dcn::cuda {
namespace fused {
namespace {

template <class P, int BM>
__global__ void __launch_bounds__(THREADS, 2) fused_samples(SamplesOperands<typename P::Data> a) {
  extern __shared__ Vector memory[];
  samples_block<P, BM>(a, *reinterpret_cast<SamplesShared<BM>*>(memory), blockIdx.x, static_cast<int>(blockIdx.y));
}

template <class S>
__global__ void bound_numbers(Numbers<S> values, int64_t count, unsigned* largest) {
  bound(values, count, largest);
}
template <class S>
__global__ void bound_rows(const S* weight, DeformConvShape s, int64_t rows, unsigned* largest) {
  float most = 0;
  for (int64_t i = first_element(); i < rows; i += element_step()) {
    const float size = row_size(weight, s, i);
    most = size > most ? size : most;
  }
  if (most > 0) simt::keep_largest(largest, most);
}
__global__ void choose_exponent(DeformConvShape s, const Bounds* bounds, bool has_mask, int* exponent) {
  if (first_element() == 0) *exponent = fixed_point_exponent(s, *bounds, has_mask);
}
// Integers for the input's gradient, and the exponent that goes with them.
struct FixedPoint {
  Tensor sums, exponent;
};

template <class S>
FixedPoint fixed_point_for(const SamplesOperands<S>& a, const Tensor& on, const Launch& launch) {
  const DeformConvShape& s = a.from.shape;
  const Sizes map = {s.images, s.height, s.width, s.channels};
  FixedPoint made = {torch::stable::new_zeros(on, map, ScalarType::Long), uninitialised(on, Sizes{1}, ScalarType::Int)};
  Tensor bounds = torch::stable::new_zeros(on, Sizes{3}, ScalarType::Int);
  Bounds* largest = write<Bounds>(bounds);
  const int64_t grads = s.images * s.positions() * s.out_channels;
  const int64_t rows = s.taps() * s.channels_per_group() * s.groups;
  const int64_t masks = a.from.mask.exist() ? s.images * s.offset_groups * s.taps() * s.positions() : 0;
  launch.over("deform_conv2d bound of grad", walkers(grads), bound_values<S>, a.grad, grads, &largest->grad);
  launch.over("deform_conv2d bound of weight", walkers(rows), bound_rows<S>, a.weight, s, rows, &largest->weight_row);
  launch.over("deform_conv2d bound of mask", walkers(masks), bound_numbers<S>, a.from.mask, masks, &largest->mask);
  launch.over("deform_conv2d exponent", 1, choose_exponent, s, static_cast<const Bounds*>(largest),
              a.from.mask.exist(), write<int>(made.exponent));
  return made;
}

template <class P>
void launch_samples(SamplesOperands<typename P::Data> a, const Tensor& on, const Launch& launch) {
  using S = typename P::Data;
  const DeformConvShape& s = a.from.shape;
  std::optional<FixedPoint> fixed;
  if (a.grad_input != nullptr && deterministic()) {
    fixed = fixed_point_for(a, on, launch);
    a.fixed = write<int64_t>(fixed->sums);
    a.exponent = read<int>(fixed->exponent);
  }
  const auto blocks = [&](int64_t side) { return s.images * ((s.positions() + side - 1) / side); };
  constexpr int LARGE = static_cast<int>(sizeof(SamplesShared<128>)),
                SMALL = static_cast<int>(sizeof(SamplesShared<64>));
  // Two blocks live on a multiprocessor: small tiles where large ones would not fill two rounds of them.
  const bool large =
      P::TENSOR_CORE && most_shared_memory(on) >= LARGE && blocks(128) * s.taps() >= 4 * multiprocessors(on);
  if constexpr (P::TENSOR_CORE) {
    if (large) {
      launch_blocks("deform_conv2d fused backward", launch, fused_samples<P, 128>, grid(blocks(128), s.taps(), 1),
                    LARGE, a);
    }
  }
  if (!large) {
    launch_blocks("deform_conv2d fused backward", launch, fused_samples<P, 64>, grid(blocks(64), s.taps(), 1), SMALL,
                  a);
  }
  if (fixed) {
    const int64_t count = s.images * s.height * s.width * s.channels;
    launch.over("deform_conv2d fixed point", count, add_fixed_point, static_cast<const int64_t*>(a.fixed), a.exponent,
                a.grad_input, count);
  }
}

}  // namespace
}  // namespace fused

void deform_conv_fused_samples(const DeformConvCall& call, const Tensor& x, const Tensor& grad,
                               DeformConvGradients& gradients) {
  using namespace fused;
  const Launch launch(call.input);
  // [O, C/groups, kh, kw] as [kh, kw, C/groups, O]
  const Tensor taps_last = torch::stable::transpose(torch::stable::transpose(call.weight, 0, 3), 0, 1);
  const Tensor w = torch::stable::contiguous(torch::stable::transpose(taps_last, 0, 2));
  const auto target = [](std::optional<Tensor>& t) { return t ? write<float>(*t) : nullptr; };
  with_precision(call.input, [&](auto precision) {
    using P = decltype(precision);
    using S = typename P::Data;
    const SamplesOperands<S> a = {source_of<S>(call, x), read<S>(grad), read<S>(w), target(gradients.input), nullptr,
                                  nullptr, target(gradients.offset), target(gradients.mask)};
    launch_samples<P>(a, call.input, launch);
  });
}

}  // namespace dcn::cuda
