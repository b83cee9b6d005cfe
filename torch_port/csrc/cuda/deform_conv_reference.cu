// deform_conv2d on CUDA in its plainest form: what the fused kernels are tested against, and what runs where they
// cannot. No column buffer: backward recomputes each column gradient from weight and grad.
#include "cuda/deform_conv.cuh"
#include "cuda/deform_conv_call.h"
#include "cuda/launch.h"

namespace dcn::cuda {
namespace {

template <class S, class T>
__device__ __forceinline__ const S* plane_of(const DeformConvArrays<S, T>& a, int64_t image, int64_t channel) {
  return a.input + (image * a.shape.channels + channel) * a.shape.height * a.shape.width;
}

// Gradient of the masked sample (channel, tap) of one position: weightᵀ times grad.
template <class S, class T>
__device__ T column_gradient(const DeformConvArrays<S, T>& a, int64_t image, int64_t channel, int64_t tap,
                             int64_t position) {
  const DeformConvShape& s = a.shape;
  const int64_t group = channel / s.channels_per_group(), within = channel % s.channels_per_group();
  const int64_t first = group * s.out_channels_per_group(), step = s.channels_per_group() * s.taps();
  const S* weight = a.weight + (first * s.channels_per_group() + within) * s.taps() + tap;
  const S* grad = a.grad + (image * s.out_channels + first) * s.positions() + position;
  T sum = 0;
  for (int64_t o = 0; o < s.out_channels_per_group(); ++o) {
    sum += static_cast<T>(weight[o * step]) * static_cast<T>(grad[o * s.positions()]);
  }
  return sum;
}

// One thread per element of the output: neighbours in a warp are neighbours on a row of the map.
template <class S, class T>
__global__ void forward(DeformConvArrays<S, T> a, int64_t count) {
  const DeformConvShape& s = a.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int64_t position = i % s.positions(), o = i / s.positions() % s.out_channels;
    const int64_t image = i / s.positions() / s.out_channels;
    const int64_t begin = o / s.out_channels_per_group() * s.channels_per_group();
    const int64_t end = begin + s.channels_per_group();
    const S* weight = a.weight + o * s.channels_per_group() * s.taps();
    T sum = a.bias != nullptr ? static_cast<T>(a.bias[o]) : T(0);
    for (int64_t group = begin / s.channels_per_offset_group(); group * s.channels_per_offset_group() < end; ++group) {
      int64_t c0 = group * s.channels_per_offset_group(), c1 = c0 + s.channels_per_offset_group();
      c0 = c0 < begin ? begin : c0;
      c1 = c1 > end ? end : c1;
      for (int tap = 0; tap < static_cast<int>(s.taps()); ++tap) {
        const Sample<T> sample =
            sample_at<T>(s, a.border, a.offset, a.mask, a.mask != nullptr, image, group, tap, position);
        if (!sample.cell.inside()) continue;
        const FourCorners<T> w = bilinear_weights(sample.cell);
        for (int64_t c = c0; c < c1; ++c) {
          const FourCorners<T> v = bilinear_corners<S, T>(plane_of(a, image, c), sample.cell, s.width, 1);
          sum += static_cast<T>(weight[(c - begin) * s.taps() + tap]) * (bilinear_value(v, w) * sample.mask);
        }
      }
    }
    a.output[i] = static_cast<S>(sum);
  }
}

// One thread per sample (image, offset group, tap, position): its offset and mask gradients, and what its channels
// give to grad_input, by atomicAdd in no fixed order.
template <class S, class T>
__global__ void backward_sample(DeformConvArrays<S, T> a, int64_t count) {
  const DeformConvShape& s = a.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int64_t position = i % s.positions();
    const int tap = static_cast<int>(i / s.positions() % s.taps());
    const int64_t group = i / s.positions() / s.taps() % s.offset_groups;
    const int64_t image = i / s.positions() / s.taps() / s.offset_groups;
    const Sample<T> sample =
        sample_at<T>(s, a.border, a.offset, a.mask, a.mask != nullptr, image, group, tap, position);
    if (!sample.cell.inside()) continue;  // its gradients stay 0, whatever comes from above
    const FourCorners<T> w = bilinear_weights(sample.cell);
    const FourCorners<int64_t> at = bilinear_addresses(sample.cell, s.width, 1, -1);
    SampleGradient<T> sum = {0, 0, 0};
    for (int64_t k = 0; k < s.channels_per_offset_group(); ++k) {
      const int64_t channel = group * s.channels_per_offset_group() + k;
      const T upstream = column_gradient(a, image, channel, tap, position);
      if (a.grad_offset != nullptr || a.grad_mask != nullptr) {
        const FourCorners<T> v = bilinear_corners<S, T>(plane_of(a, image, channel), sample.cell, s.width, 1);
        const SampleGradient<T> part = sample_gradient(v, sample.cell, sample.mask, upstream);
        sum = {sum.y + part.y, sum.x + part.x, sum.mask + part.mask};
      }
      if (a.grad_input != nullptr) {
        T* plane = a.grad_input + (image * s.channels + channel) * s.height * s.width;
        const T masked = upstream * sample.mask;
        if (at.v00 >= 0) atomicAdd(plane + at.v00, w.v00 * masked);
        if (at.v01 >= 0) atomicAdd(plane + at.v01, w.v01 * masked);
        if (at.v10 >= 0) atomicAdd(plane + at.v10, w.v10 * masked);
        if (at.v11 >= 0) atomicAdd(plane + at.v11, w.v11 * masked);
      }
    }
    if (a.grad_offset != nullptr) {
      T* offset = a.grad_offset + offset_index(image, group, tap, position, s.offset_groups, s.taps(), s.positions());
      offset[0] = sum.y;
      offset[s.positions()] = sum.x;
    }
    if (a.grad_mask != nullptr) a.grad_mask[i] = sum.mask;  // mask_index(...) == i
  }
}

constexpr int ORDERED_THREADS = 128;

// grad_input in a fixed order, without atomics. One block per (image, channel) plane. 128 samples at a time are worked
// out in parallel and written down in shared memory; then thread t adds, sample by sample, those that go to an address
// = t mod 128. No two threads touch one address, and each sees its samples in (tap, position, corner) order.
template <class S, class T>
__global__ void __launch_bounds__(ORDERED_THREADS) grad_input_ordered(DeformConvArrays<S, T> a, int64_t planes) {
  __shared__ int64_t address[ORDERED_THREADS][4];
  __shared__ T amount[ORDERED_THREADS][4];
  const DeformConvShape& s = a.shape;
  const int me = static_cast<int>(threadIdx.x);
  for (int64_t p = blockIdx.x; p < planes; p += gridDim.x) {
    const int64_t image = p / s.channels, channel = p % s.channels, units = s.taps() * s.positions();
    T* plane = a.grad_input + p * s.height * s.width;
    for (int64_t first = 0; first < units; first += ORDERED_THREADS) {
      const int64_t unit = first + me;
      FourCorners<int64_t> at = {-1, -1, -1, -1};
      FourCorners<T> share = {0, 0, 0, 0};
      if (unit < units) {
        const int64_t position = unit % s.positions();
        const int tap = static_cast<int>(unit / s.positions());
        const Sample<T> sample = sample_at<T>(s, a.border, a.offset, a.mask, a.mask != nullptr, image,
                                              channel / s.channels_per_offset_group(), tap, position);
        if (sample.cell.inside()) {
          const T masked = column_gradient(a, image, channel, tap, position) * sample.mask;
          const FourCorners<T> w = bilinear_weights(sample.cell);
          at = bilinear_addresses(sample.cell, s.width, 1, -1);
          share = {w.v00 * masked, w.v01 * masked, w.v10 * masked, w.v11 * masked};
        }
      }
      address[me][0] = at.v00, address[me][1] = at.v01, address[me][2] = at.v10, address[me][3] = at.v11;
      amount[me][0] = share.v00, amount[me][1] = share.v01, amount[me][2] = share.v10, amount[me][3] = share.v11;
      __syncthreads();
      for (int k = 0; k < ORDERED_THREADS * 4; ++k) {
        const int64_t to = address[k / 4][k % 4];
        if (to >= 0 && to % ORDERED_THREADS == me) plane[to] += amount[k / 4][k % 4];
      }
      __syncthreads();  // before the next samples overwrite these
    }
  }
}

// One thread per weight element, over images and positions in order.
template <class S, class T>
__global__ void grad_weight(DeformConvArrays<S, T> a, int64_t count) {
  const DeformConvShape& s = a.shape;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int tap = static_cast<int>(i % s.taps());
    const int64_t within = i / s.taps() % s.channels_per_group();
    const int64_t o = i / s.taps() / s.channels_per_group();
    const int64_t channel = o / s.out_channels_per_group() * s.channels_per_group() + within;
    const int64_t group = channel / s.channels_per_offset_group();
    T sum = 0;
    for (int64_t image = 0; image < s.images; ++image) {
      const S* plane = plane_of(a, image, channel);
      const S* grad = a.grad + (image * s.out_channels + o) * s.positions();
      for (int64_t position = 0; position < s.positions(); ++position) {
        const Sample<T> sample =
            sample_at<T>(s, a.border, a.offset, a.mask, a.mask != nullptr, image, group, tap, position);
        if (!sample.cell.inside()) continue;
        const FourCorners<T> v = bilinear_corners<S, T>(plane, sample.cell, s.width, 1);
        sum += bilinear_value(v, bilinear_weights(sample.cell)) * sample.mask * static_cast<T>(grad[position]);
      }
    }
    a.grad_weight[i] = sum;
  }
}

// Offsets and mask in the type of sums.
struct Positions {
  Tensor offset;
  std::optional<Tensor> mask;

  explicit Positions(const DeformConvCall& call) : offset(widened(call.offset, accumulator_type(call.input))) {
    if (call.mask) mask = widened(*call.mask, accumulator_type(call.input));
  }
};

template <class S, class T>
DeformConvArrays<S, T> arrays(const DeformConvCall& call, const Positions& positions) {
  DeformConvArrays<S, T> a = {};
  a.shape = call.shape;
  a.border = call.border;
  a.input = read<S>(call.input);
  a.offset = read<T>(positions.offset);
  a.mask = positions.mask ? read<T>(*positions.mask) : nullptr;
  a.weight = read<S>(call.weight);
  a.bias = call.bias ? read<S>(*call.bias) : nullptr;
  return a;
}

template <class S, class T>
void launch_backward(const DeformConvArrays<S, T>& wanted, const Launch& launch) {
  DeformConvArrays<S, T> a = wanted;
  const DeformConvShape& s = a.shape;
  if (a.grad_input != nullptr && deterministic()) {
    const int64_t planes = s.images * s.channels;
    const int blocks = static_cast<int>(planes < (1 << 20) ? planes : (1 << 20));
    grad_input_ordered<S, T><<<blocks, ORDERED_THREADS, 0, launch.stream()>>>(a, planes);
    check(cudaGetLastError(), "deform_conv2d grad_input, ordered");
    a.grad_input = nullptr;
  }
  if (a.grad_input != nullptr || a.grad_offset != nullptr || a.grad_mask != nullptr) {
    const int64_t samples = s.images * s.offset_groups * s.taps() * s.positions();
    launch.over("deform_conv2d backward", samples, backward_sample<S, T>, a, samples);
  }
  if (a.grad_weight != nullptr) {
    const int64_t weights = s.out_channels * s.channels_per_group() * s.taps();
    launch.over("deform_conv2d grad_weight", weights, grad_weight<S, T>, a, weights);
  }
}

}  // namespace

void deform_conv_reference_forward(const DeformConvCall& call, Tensor& output) {
  const Launch launch(call.input);
  const Tensor x = torch::stable::contiguous(call.input);
  const Positions positions(call);
  for_type_of(call.name, "input", call.input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    DeformConvArrays<S, T> a = arrays<S, T>(call, positions);
    a.input = read<S>(x);
    a.output = write<S>(output);
    launch.over("deform_conv2d forward", output.numel(), forward<S, T>, a, output.numel());
  });
}

void deform_conv_reference_backward(const DeformConvCall& call, const Tensor& grad, const DeformConvWanted& wanted,
                                    DeformConvGradients& gradients) {
  const Launch launch(call.input);
  const auto zeros = [&](bool want, const Tensor& like) -> std::optional<Tensor> {
    if (!want) return std::nullopt;
    return torch::stable::new_zeros(call.input, sizes_of(like), accumulator_type(call.input));
  };
  gradients = {zeros(wanted.input, call.input), zeros(wanted.offset, call.offset),
               zeros(wanted.mask, call.mask ? *call.mask : call.offset), zeros(wanted.weight, call.weight)};
  if (call.shape.images == 0) return;
  const Tensor x = torch::stable::contiguous(call.input), g = torch::stable::contiguous(grad);
  const Positions positions(call);
  for_type_of(call.name, "input", call.input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    const auto target = [](std::optional<Tensor>& t) { return t ? write<T>(*t) : nullptr; };
    DeformConvArrays<S, T> a = arrays<S, T>(call, positions);
    a.input = read<S>(x);
    a.grad = read<S>(g);
    a.grad_input = target(gradients.input);
    a.grad_offset = target(gradients.offset);
    a.grad_mask = target(gradients.mask);
    a.grad_weight = target(gradients.weight);
    launch_backward(a, launch);
  });
}

}  // namespace dcn::cuda
