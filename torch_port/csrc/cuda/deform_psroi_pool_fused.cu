// Launches the fused deform_psroi_pool: maps turned so that channels are neighbours, bins, and the way back.
#include "cuda/deform_psroi_pool_call.h"
#include "cuda/fused/fixed_point.cuh"
#include "cuda/fused/psroi_pool.h"
#include "cuda/fused/transpose.h"

namespace dcn::cuda {
namespace fused {
namespace {

template <class S, class T>
__global__ void __launch_bounds__(THREADS, 4) fused_psroi_forward(PsroiOperands<S, T> a) {
  extern __shared__ Vector memory[];
  psroi_forward_block(a, memory, blockIdx.x);
}
template <class S, class T>
__global__ void __launch_bounds__(THREADS, 4) fused_psroi_backward(PsroiOperands<S, T> a) {
  extern __shared__ Vector memory[];
  psroi_backward_block(a, memory, blockIdx.x);
}
template <class T>
__global__ void psroi_add_slopes(DeformPsroiShape s, const T* slopes, T* grad_offset, int64_t count) {
  for (int64_t i = first_element(); i < count; i += element_step()) add_slopes(s, slopes, grad_offset, i);
}
template <class From, class To>
__global__ void __launch_bounds__(THREADS) transpose_maps(TransposeOperands<From, To> a) {
  __shared__ To tile[SIDE][SIDE + 1];
  transpose_block(a, tile, blockIdx.x);
}
__global__ void psroi_exponent(int64_t shares, const unsigned* largest, int* exponent) {
  if (first_element() == 0) *exponent = fixed_point_exponent(shares, binary_exponent(*largest));
}

template <class From, class To>
void transpose(const Launch& launch, const From* from, To* to, int64_t images, int64_t rows, int64_t columns) {
  const TransposeOperands<From, To> a = {from, to, rows, columns};
  transpose_maps<From, To><<<static_cast<unsigned>(images * a.tiles()), THREADS, 0, launch.stream()>>>(a);
  check(cudaGetLastError(), "deform_psroi_pool, maps turned");
}

int64_t pixels_of(const DeformPsroiShape& s) { return static_cast<int64_t>(s.group) * s.group * s.height * s.width; }

// As many units as have one thread per channel, as far as their lists fit into 48 kB.
template <class T>
int units_per_block(const DeformPsroiShape& s) {
  const int by_threads = THREADS / (s.output_dim / s.num_classes);
  const int by_memory = static_cast<int>(MOST_LIST_BYTES / PsroiShared<T>::bytes(1, list_capacity(s)));
  const int units = by_threads < by_memory ? by_threads : by_memory;
  return units < 1 ? 1 : units;
}

template <class S, class T>
PsroiOperands<S, T> operands(const DeformPsroiCall& call) {
  PsroiOperands<S, T> a = {};
  a.shape = call.shape;
  a.spatial_scale = mxnet_parameter<T>(call.spatial_scale);
  a.trans_std = mxnet_parameter<T>(call.trans_std);
  a.units_per_block = units_per_block<T>(call.shape);
  a.rois = read<T>(call.rois);
  a.offset = call.offset ? read<T>(*call.offset) : nullptr;
  return a;
}

template <class S>
Tensor turned_maps(const DeformPsroiCall& call, const Launch& launch) {
  const DeformPsroiShape& s = call.shape;
  Tensor turned = uninitialised(call.input, Sizes{s.num_images, pixels_of(s), s.output_dim}, call.input.scalar_type());
  transpose(launch, read<S>(call.input), write<S>(turned), s.num_images, s.output_dim, pixels_of(s));
  return turned;
}

template <class Kernel, class S, class T>
void launch_units(const char* what, const Launch& launch, Kernel kernel, const PsroiOperands<S, T>& a) {
  const int64_t units = static_cast<int64_t>(a.shape.num_rois) * a.shape.pooled * a.shape.pooled * a.shape.num_classes;
  const int64_t blocks = (units + a.units_per_block - 1) / a.units_per_block;
  const int64_t bytes = PsroiShared<T>::bytes(a.units_per_block, list_capacity(a.shape));
  kernel<<<static_cast<unsigned>(blocks), THREADS, static_cast<unsigned>(bytes), launch.stream()>>>(a);
  check(cudaGetLastError(), what);
}

template <class S, class T>
void backward(const DeformPsroiCall& call, const Tensor& grad, std::optional<Tensor>& for_input,
              std::optional<Tensor>& for_offset) {
  const DeformPsroiShape& s = call.shape;
  const Launch launch(call.input);
  const Tensor maps = turned_maps<S>(call, launch);
  PsroiOperands<S, T> a = operands<S, T>(call);
  a.maps = read<S>(maps);
  a.grad = read<S>(grad);
  const int64_t bins = static_cast<int64_t>(s.num_rois) * s.pooled * s.pooled, elements = call.input.numel();
  std::optional<Tensor> sums, slopes, fixed, bound, exponent;
  if (for_input) {
    sums = torch::stable::new_zeros(call.input, sizes_of(maps), accumulator_type(call.input));
    a.grad_input = write<T>(*sums);
  }
  if (for_offset) {
    slopes = uninitialised(call.input, Sizes{bins, s.output_dim, 2}, accumulator_type(call.input));
    a.slopes = write<T>(*slopes);
  }
  if (for_input && sizeof(T) == sizeof(float) && deterministic()) {
    fixed = torch::stable::new_zeros(call.input, sizes_of(maps), ScalarType::Long);
    bound = torch::stable::new_zeros(call.input, {1}, ScalarType::Int);
    exponent = torch::stable::new_zeros(call.input, {1}, ScalarType::Int);
    a.fixed = write<int64_t>(*fixed);
    a.exponent = read<int>(*exponent);
    launch.over("deform_psroi_pool, bound", walkers(grad.numel()), bound_values<S>, a.grad, grad.numel(),
                write<unsigned>(*bound));
    launch.over("deform_psroi_pool, exponent", 1, psroi_exponent, bins, read<unsigned>(*bound), write<int>(*exponent));
  }
  launch_units("deform_psroi_pool, fused backward", launch, fused_psroi_backward<S, T>, a);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (fixed) {
      launch.over("deform_psroi_pool, fixed point", elements, add_fixed_point, static_cast<const int64_t*>(a.fixed),
                  a.exponent, a.grad_input, elements);
    }
  }
  if (for_input) {
    transpose(launch, static_cast<const T*>(a.grad_input), write<S>(*for_input), s.num_images, pixels_of(s),
              s.output_dim);
  }
  if (for_offset) {
    const int64_t count = for_offset->numel() / 2;
    launch.over("deform_psroi_pool, grad_offset", count, psroi_add_slopes<T>, s, static_cast<const T*>(a.slopes),
                write<T>(*for_offset), count);
  }
}

bool fits(const DeformPsroiShape& s) {
  const TransposeOperands<char, char> turn = {nullptr, nullptr, s.output_dim, pixels_of(s)};
  const int64_t units = static_cast<int64_t>(s.num_rois) * s.pooled * s.pooled * s.num_classes;
  return s.height <= UINT16_MAX && s.width <= UINT16_MAX && units > 0 && units <= INT32_MAX &&
         s.num_images * turn.tiles() <= INT32_MAX / 2 &&
         PsroiShared<double>::bytes(1, list_capacity(s)) <= MOST_LIST_BYTES;
}

}  // namespace
}  // namespace fused

bool deform_psroi_fused_forward(const DeformPsroiCall& call, Tensor& output) {
  using namespace fused;
  if (!fits(call.shape)) return false;
  const Launch launch(call.input);
  for_type_of(call.name, "input", call.input, [&](auto type) {
    using S = typename decltype(type)::Data;
    using T = typename decltype(type)::Sum;
    const Tensor maps = turned_maps<S>(call, launch);
    PsroiOperands<S, T> a = operands<S, T>(call);
    a.maps = read<S>(maps);
    a.output = write<S>(output);
    launch_units("deform_psroi_pool, fused forward", launch, fused_psroi_forward<S, T>, a);
  });
  return true;
}

bool deform_psroi_fused_backward(const DeformPsroiCall& call, const Tensor& grad, std::optional<Tensor>& for_input,
                                 std::optional<Tensor>& for_offset) {
  using namespace fused;
  // Fixed point has bits for float32 only.
  if (!fits(call.shape) || (for_input && deterministic() && call.input.scalar_type() == ScalarType::Double))
    return false;
  for_type_of(call.name, "input", call.input, [&](auto type) {
    backward<typename decltype(type)::Data, typename decltype(type)::Sum>(call, grad, for_input, for_offset);
  });
  return true;
}

}  // namespace dcn::cuda
