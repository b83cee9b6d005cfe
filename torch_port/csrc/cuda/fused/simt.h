// What the fused kernels need of the machine: threads of a block, warps, tensor cores, asynchronous copies, atomics.
// Under nvcc these are the instructions; elsewhere tests/cuda/simt_emulator.h defines them, so that the very bodies of
// the kernels run on the CPU, thread by thread.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/bilinear.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define DCN_DEVICE __device__ __forceinline__
#else
#define DCN_DEVICE inline
#endif

namespace dcn::simt {

#if defined(__CUDACC__)

using Vector = uint4;

DCN_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
DCN_DEVICE void barrier() { __syncthreads(); }

// Sum over the 32 lanes of a warp, in every lane; the order of additions is fixed.
DCN_DEVICE float lanes_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// Four 8 x 8 matrices of 16-bit numbers; lane l names row l % 8 of matrix l / 8 (16 bytes of shared memory), and gets
// of each matrix row l / 4, numbers 2 (l % 4) and + 1. Transposed: column l / 4.
DCN_DEVICE void load_matrices(unsigned (&to)[4], const void* row) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at));
}
DCN_DEVICE void load_matrices_transposed(unsigned (&to)[4], const void* row) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at));
}

// 16 bytes from global to shared memory, or zeros; there only after wait_async and a barrier. `from` is not read where
// `valid` is false.
DCN_DEVICE void copy_async(void* to, const void* from, bool valid) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
#else
  *static_cast<Vector*>(to) = valid ? *static_cast<const Vector*>(from) : Vector{0u, 0u, 0u, 0u};
#endif
}
// Closes a group of copies, which may be empty.
DCN_DEVICE void commit_async() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most PENDING of this thread's latest groups are under way.
template <int PENDING>
DCN_DEVICE void wait_async() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

DCN_DEVICE Vector read_vector(const void* from) { return __ldg(static_cast<const Vector*>(from)); }
DCN_DEVICE uint2 read_half_vector(const void* from) { return __ldg(static_cast<const uint2*>(from)); }

// Atomic additions whose results nobody waits for. to: 16-byte aligned.
DCN_DEVICE void add_four(float* to, const float (&v)[4]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
               "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3])
               : "memory");
#else
#pragma unroll
  for (int i = 0; i < 4; ++i) atomicAdd(to + i, v[i]);
#endif
}
DCN_DEVICE void add_one(float* to, float v) { atomicAdd(to, v); }
DCN_DEVICE void add_one(double* to, double v) { atomicAdd(to, v); }
DCN_DEVICE void add_fixed(int64_t* to, int64_t v) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(v));
}
DCN_DEVICE int64_t to_fixed(float v) { return __float2ll_rn(v); }
// The largest so far of numbers that are not negative, as bits.
DCN_DEVICE void keep_largest(unsigned* to, float v) { atomicMax(to, __float_as_uint(v)); }

// A float32 number to the nearest with 10 bits of mantissa, ties away from zero.
DCN_DEVICE unsigned round_to_tf32(unsigned bits) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
#else
  return bits;
#endif
}

// sum += a b on one warp, 16 x 8 results; fragments as the PTX manual lays them out.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define DCN_MMA(shape, types)                                                                                      \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." types ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "      \
               "{%0,%1,%2,%3};"                                                                                    \
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                            \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#else
#define DCN_MMA(shape, types) __trap()  // never launched on such a device
#endif
DCN_DEVICE void multiply_matrices(__half, float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  DCN_MMA("m16n8k16", "f16.f16");
}
DCN_DEVICE void multiply_matrices(__nv_bfloat16, float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  DCN_MMA("m16n8k16", "bf16.bf16");
}
DCN_DEVICE void multiply_matrices(float, float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  DCN_MMA("m16n8k8", "tf32.tf32");
}
#undef DCN_MMA

#else  // defined by tests/cuda/simt_emulator.h

struct alignas(16) Vector {
  unsigned x, y, z, w;
};
struct alignas(8) HalfVector {
  unsigned x, y;
};

int thread();
void barrier();
float lanes_sum(float value);
void load_matrices(unsigned (&to)[4], const void* row);
void load_matrices_transposed(unsigned (&to)[4], const void* row);
void copy_async(void* to, const void* from, bool valid);
void commit_async();
void wait_async_groups(int pending);
template <int PENDING>
void wait_async() {
  wait_async_groups(PENDING);
}
Vector read_vector(const void* from);
HalfVector read_half_vector(const void* from);
void add_four(float* to, const float (&v)[4]);
void add_one(float* to, float v);
void add_one(double* to, double v);
void add_fixed(int64_t* to, int64_t v);
int64_t to_fixed(float v);
void keep_largest(unsigned* to, float v);
unsigned round_to_tf32(unsigned bits);
template <class S>
void multiply_matrices(S, float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

#endif

}  // namespace dcn::simt
