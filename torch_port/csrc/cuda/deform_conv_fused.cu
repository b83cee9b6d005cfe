// deform_conv2d forward with no column buffer: gather a tile into shared memory, multiply it there.
// The next chunk's global loads are in flight while this one is multiplied; one barrier per step.
#include "cuda/deform_conv_multiply.h"

#include <type_traits>

#include "cuda/deform_conv_call.h"
#include "cuda/launch.h"

namespace dcn::cuda {
namespace fused {
namespace {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define DCN_MMA(types)                                                                                            \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." types ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "       \
               "{%0,%1,%2,%3};"                                                                                   \
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#else
#define DCN_MMA(types) __trap()  // never launched on such a device: see fused_forward_fits
#endif

template <class S>
__device__ __forceinline__ void tensor_core(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (std::is_same_v<S, __half>) {
    DCN_MMA("f16.f16");
  } else {
    DCN_MMA("bf16.bf16");
  }
}
#undef DCN_MMA

template <int BN>
struct SharedTiles {
  Vector rows[2][BM * ROW_STRIDE];
  Vector columns[2][BN * ROW_STRIDE];
  Record records[2][BM];
};

template <class Border, class S, int BN>
__global__ void __launch_bounds__(THREADS, BN == 128 ? 2 : 1) fused_forward(Operands<S> a) {
  extern __shared__ Vector memory[];
  SharedTiles<BN>& shared = *reinterpret_cast<SharedTiles<BN>*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  const Tile tile = tile_of<BN>(a.shape, blockIdx.x, blockIdx.y);
  const int steps = steps_of<S>(a.shape);
  using Multiply = std::conditional_t<std::is_same_v<S, float>, PlainMultiply<BN>, MatrixMultiply<BN>>;
  Multiply product_tile;

  const Step start = first_step(a.shape, tile);
  Step next = step_after<S>(a.shape, tile, start);  // beyond the last one where there is only one: not used then
  if (thread < BM) {
    shared.records[0][thread] = record_of<Border>(a, tile, start, thread);
    if (steps > 1 && !next.shares_samples(start)) shared.records[1][thread] = record_of<Border>(a, tile, next, thread);
  }
  __syncthreads();
  Load<BN> carried;
  load(a, tile, start, shared.records[0], thread, carried);
  store<S>(carried, shared.records[0], thread, shared.rows[0], shared.columns[0]);
  __syncthreads();
  int slot = 0;  // of the records of the step being multiplied
  bool shares = next.shares_samples(start);
  for (int it = 0; it < steps; ++it) {
    const int now = it & 1;
    if (it + 1 < steps) {
      slot = shares ? slot : slot ^ 1;
      load(a, tile, next, shared.records[slot], thread, carried);
    }
    if (it + 2 < steps) {
      const Step later = step_after<S>(a.shape, tile, next);
      shares = later.shares_samples(next);
      if (!shares && thread < BM) {  // nobody reads the other slot until the next barrier
        shared.records[slot ^ 1][thread] = record_of<Border>(a, tile, later, thread);
      }
      next = later;
    }
    if constexpr (std::is_same_v<S, float>) {
      product_tile.step(shared.rows[now], shared.columns[now], thread);
    } else {
      product_tile.step(shared.rows[now], shared.columns[now], thread, tensor_core<S>);
    }
    if (it + 1 < steps) store<S>(carried, shared.records[slot], thread, shared.rows[now ^ 1], shared.columns[now ^ 1]);
    __syncthreads();
  }
  product_tile.results(thread, [&](int row, int column, float sum) { write_result(a, tile, row, column, sum); });
}

template <class Border, class S, int BN>
void launch_tiles(const Operands<S>& a, const Launch& launch) {
  const Grid<BN> grid(a.shape);
  const dim3 blocks(static_cast<unsigned>(a.shape.images * grid.position_tiles),
                    static_cast<unsigned>(a.shape.groups * grid.channel_tiles));
  constexpr int BYTES = static_cast<int>(sizeof(SharedTiles<BN>));
  check(cudaFuncSetAttribute(fused_forward<Border, S, BN>, cudaFuncAttributeMaxDynamicSharedMemorySize, BYTES),
        "deform_conv2d fused forward, shared memory");
  fused_forward<Border, S, BN><<<blocks, THREADS, BYTES, launch.stream()>>>(a);
  check(cudaGetLastError(), "deform_conv2d fused forward");
}

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace
}  // namespace fused

bool deform_conv_fused_forward(const DeformConvCall& call, Tensor& output, bool channels_last) {
  using namespace fused;
  const DeformConvShape& s = call.shape;
  const ScalarType type = call.input.scalar_type();
  if (type == ScalarType::Double || !(type == ScalarType::Float ? fits<float>(s) : fits<__half>(s))) return false;
  const int64_t position_tiles = Grid<128>(s).position_tiles, channel_tiles = Grid<128>(s).channel_tiles;
  if (s.images * position_tiles > INT32_MAX || s.groups * channel_tiles > 65535) return false;
  const Launch launch(call.input);
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, call.input.get_device()), call.name);
  if (type != ScalarType::Float && major < 8) return false;  // mma.m16n8k16 came with Ampere
  const Tensor x = torch::stable::contiguous(call.input, MemoryFormat::ChannelsLast);
  const Tensor w = torch::stable::contiguous(call.weight, MemoryFormat::ChannelsLast);
  if (!aligned(x.const_data_ptr()) || !aligned(w.const_data_ptr())) return false;
  const int64_t image = s.out_channels * s.positions();
  const auto run = [&](auto tag) {
    using S = typename decltype(tag)::Data;
    if constexpr (sizeof(S) < 8) {
      const Operands<S> a = {s, read<S>(x), read<float>(call.offset), call.mask ? read<float>(*call.mask) : nullptr,
                             read<S>(w), call.bias ? read<S>(*call.bias) : nullptr, write<S>(output), image,
                             channels_last ? 1 : s.positions(), channels_last ? s.out_channels : 1};
      with_border(call.border, [&](auto rule) {
        using Border = decltype(rule);
        if constexpr (sizeof(S) == 2) {  // wide tiles gather each sample for more output channels
          if (s.out_channels_per_group() > 128) return launch_tiles<Border, S, 256>(a, launch);
        }
        launch_tiles<Border, S, 128>(a, launch);
      });
    }
  };
  for_type_of(call.name, "input", call.input, run);
  return true;
}

}  // namespace dcn::cuda
