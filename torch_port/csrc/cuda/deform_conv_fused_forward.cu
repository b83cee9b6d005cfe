// Launches the fused forward of deform_conv2d: tile width by the output channels, splits of the sum where the map is
// too small to fill the device.
#include "cuda/fused/forward.h"
#include "cuda/fused/launch.h"

namespace dcn::cuda {
namespace fused {
namespace {

template <class P, int BM, int BN>
__global__ void __launch_bounds__(THREADS, BN < 256 ? 2 : 1)
    fused_forward(ForwardOperands<typename P::Data> a) {
  extern __shared__ Vector memory[];
  forward_block<P, BM, BN>(a, *reinterpret_cast<ForwardShared<BM, BN>*>(memory), blockIdx.x, blockIdx.y,
                           static_cast<int>(blockIdx.z));
}

// One thread per element of the output: the splits' sums in order, then the bias.
template <class S>
__global__ void add_splits(ForwardOperands<S> a, int64_t count) {
  const DeformConvShape& s = a.from.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int64_t o = i % s.out_channels, pixel = i / s.out_channels;
    float sum = 0;
    for (int split = 0; split < a.splits; ++split) sum += a.partial[split * count + i];
    if (a.bias != nullptr) sum += static_cast<float>(a.bias[o]);
    a.output[pixel / s.positions() * a.out_stride_image + o * a.out_stride_channel +
             pixel % s.positions() * a.out_stride_position] = static_cast<S>(sum);
  }
}

// Of any weight group: groups may be cut up differently, and no split may be left without a step.
template <class S>
int64_t fewest_steps(const DeformConvShape& s) {
  int fewest = INT32_MAX;
  for (int group = 0; group < s.groups; ++group) {
    const int steps = static_cast<int>(s.taps()) * steps_per_tap(s, group, CHUNK<S>);
    fewest = steps < fewest ? steps : fewest;
  }
  return fewest;
}

template <class P, int BM, int BN>
void launch_tiles(ForwardOperands<typename P::Data> a, const Tensor& on, const Launch& launch) {
  using S = typename P::Data;
  const DeformConvShape& s = a.from.shape;
  const ForwardGrid<BM, BN> tiles(s);
  const int64_t x = s.images * tiles.position_tiles, y = s.groups * tiles.channel_tiles;
  constexpr int64_t MOST_SPLITS = 16;
  a.splits = best_split(x * y, fewest_steps<S>(s), multiprocessors(on) * (BN < 256 ? 2 : 1), MOST_SPLITS);
  std::optional<Tensor> partial;
  const int64_t count = s.images * s.positions() * s.out_channels;
  if (a.splits > 1) {
    partial = uninitialised(on, Sizes{a.splits, count}, ScalarType::Float);
    a.partial = write<float>(*partial);
  }
  launch_blocks("deform_conv2d fused forward", launch, fused_forward<P, BM, BN>, grid(x, y, a.splits),
                static_cast<int>(sizeof(ForwardShared<BM, BN>)), a);
  if (a.splits > 1) launch.over("deform_conv2d fused forward, splits", count, add_splits<S>, a, count);
}

template <class P>
void launch_forward(const ForwardOperands<typename P::Data>& a, const Tensor& on, const Launch& launch) {
  const int64_t width = a.from.shape.out_channels_per_group();
  if constexpr (P::TENSOR_CORE) {  // wide tiles gather each sample for more output channels
    if (width > 128) return launch_tiles<P, 128, 256>(a, on, launch);
  }
  if (width > 64) return launch_tiles<P, 64, 128>(a, on, launch);
  launch_tiles<P, 128, 64>(a, on, launch);
}

}  // namespace
}  // namespace fused

bool deform_conv_fused_forward(const DeformConvCall& call, Tensor& output, bool channels_last) {
  using namespace fused;
  const DeformConvShape& s = call.shape;
  if (!is_fused_type(call.input) || !channels_fit(s, call.input.scalar_type())) return false;
  const ForwardGrid<64, 64> most(s);
  if (s.images * most.position_tiles > INT32_MAX || s.groups * most.channel_tiles > MOST_BLOCKS_Y) return false;
  const Launch launch(call.input);
  const Tensor x = torch::stable::contiguous(call.input, MemoryFormat::ChannelsLast);
  const Tensor w = torch::stable::contiguous(call.weight, MemoryFormat::ChannelsLast);
  if (!aligned(x) || !aligned(w) || !aligned(output)) return false;
  return with_precision(call.input, [&](auto precision) {
    using P = decltype(precision);
    using S = typename P::Data;
    const int64_t image = s.out_channels * s.positions();
    const ForwardOperands<S> a = {source_of<S>(call, x), read<S>(w), call.bias ? read<S>(*call.bias) : nullptr,
                                  write<S>(output), nullptr, 1, image, channels_last ? 1 : s.positions(),
                                  channels_last ? s.out_channels : 1};
    launch_forward<P>(a, call.input, launch);
  });
}

}  // namespace dcn::cuda
