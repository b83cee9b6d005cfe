// Launches the fused backward of deform_conv2d for the weight, and decides whether the fused backward serves a call.
#include "cuda/fused/launch.h"
#include "cuda/fused/weight_backward.h"

namespace dcn::cuda {
namespace fused {
namespace {

template <class P, int BO>
__global__ void __launch_bounds__(THREADS, 1) fused_weight(WeightOperands<typename P::Data> a) {
  extern __shared__ Vector memory[];
  weight_block<P, BO>(a, *reinterpret_cast<WeightShared<typename P::Data, BO>*>(memory), static_cast<int>(blockIdx.x),
                      static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z));
}

// One thread per weight [O, C/groups, K]: the splits' sums in order.
template <class S>
__global__ void add_weight_splits(const float* partial, int splits, int64_t depth, int64_t taps, S* to, int64_t count) {
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int64_t tap = i % taps, channel = i / taps % depth, o = i / taps / depth;
    float sum = 0;
    for (int split = 0; split < splits; ++split) sum += partial[split * count + (o * taps + tap) * depth + channel];
    to[i] = static_cast<S>(sum);
  }
}

int pieces_of(const DeformConvShape& s) { return count_pieces(s, 0, static_cast<int>(s.channels), WEIGHT_PIECE); }

template <class P, int BO>
void launch_weight(WeightOperands<typename P::Data> a, Tensor& to, const Tensor& on, const Launch& launch) {
  using S = typename P::Data;
  const DeformConvShape& s = a.from.shape;
  const int64_t x = (s.out_channels_per_group() + BO - 1) / BO, y = s.taps() * pieces_of(s);
  const int64_t steps = s.images * stretches_per_image<S>(s), count = to.numel();
  constexpr int64_t MOST_SPLITS = 16;
  a.splits = best_split(x * y, steps, multiprocessors(on), MOST_SPLITS);
  Tensor partial = uninitialised(on, Sizes{a.splits, count}, ScalarType::Float);
  a.partial = write<float>(partial);
  launch_blocks("deform_conv2d fused grad_weight", launch, fused_weight<P, BO>, grid(x, y, a.splits),
                static_cast<int>(sizeof(WeightShared<S, BO>)), a);
  launch.over("deform_conv2d grad_weight, splits", count, add_weight_splits<S>, static_cast<const float*>(a.partial),
              a.splits, s.channels_per_group(), s.taps(), write<S>(to), count);
}

// to: of the data type. grad: dense [N, OH, OW, O].
void fused_weight_gradient(const DeformConvCall& call, const Tensor& x, const Tensor& grad, Tensor& to) {
  const Launch launch(call.input);
  with_precision(call.input, [&](auto precision) {
    using P = decltype(precision);
    using S = typename P::Data;
    const WeightOperands<S> a = {source_of<S>(call, x), read<S>(grad), nullptr, 1};
    if constexpr (P::TENSOR_CORE) {
      if (call.shape.out_channels_per_group() > 128) return launch_weight<P, 256>(a, to, call.input, launch);
    }
    launch_weight<P, 128>(a, to, call.input, launch);
  });
}

bool backward_fits(const DeformConvCall& call) {
  const DeformConvShape& s = call.shape;
  const int64_t vector = call.input.scalar_type() == ScalarType::Float ? 4 : 8;
  const int64_t stretches = s.images * stretches_per_image<float>(s);  // and as many steps, or blocks, or fewer
  return is_fused_type(call.input) && channels_fit(s, call.input.scalar_type()) &&
         s.out_channels_per_group() % vector == 0 && stretches <= INT32_MAX && s.taps() * pieces_of(s) <= MOST_BLOCKS_Y;
}

}  // namespace
}  // namespace fused

bool deform_conv_fused_backward(const DeformConvCall& call, const Tensor& grad, const DeformConvWanted& wanted,
                                DeformConvGradients& gradients) {
  using namespace fused;
  if (!backward_fits(call)) return false;
  const DeformConvShape& s = call.shape;
  const Tensor x = torch::stable::contiguous(call.input, MemoryFormat::ChannelsLast);
  const Tensor g = torch::stable::contiguous(grad, MemoryFormat::ChannelsLast);
  if (!aligned(x) || !aligned(g)) return false;
  if (call.input.scalar_type() != ScalarType::Float && !has_tensor_cores(call.input)) return false;
  if (wanted.offset) gradients.offset = uninitialised(call.input, sizes_of(call.offset), ScalarType::Float);
  if (wanted.mask) gradients.mask = uninitialised(call.input, sizes_of(*call.mask), ScalarType::Float);
  if (wanted.input) {  // channels innermost
    gradients.input =
        torch::stable::new_zeros(call.input, {s.images, s.height, s.width, s.channels}, ScalarType::Float);
  }
  if (wanted.input || wanted.offset || wanted.mask) deform_conv_fused_samples(call, x, g, gradients);
  if (wanted.input) {
    gradients.input = torch::stable::transpose(torch::stable::transpose(*gradients.input, 1, 3), 2, 3);
  }
  if (wanted.weight) {
    gradients.weight = uninitialised(call.input, sizes_of(call.weight), call.input.scalar_type());
    fused_weight_gradient(call, x, g, *gradients.weight);
  }
  return true;
}

}  // namespace dcn::cuda
