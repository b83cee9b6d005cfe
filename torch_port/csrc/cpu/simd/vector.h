// Vec<T>: a register of T for the instruction set that this file is compiled for. Everything is inlined: nothing here
// may be shared with code for another set.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12's own _mm512_reduce_add and _mm512_extract
#endif

#ifndef DCN_INLINE
#define DCN_INLINE static inline __attribute__((always_inline))
#endif

namespace dcn::cpu::DCN_ISA {

template <class T>
struct Vec;

#if defined(__AVX512F__)

template <>
struct Vec<float> {
  static constexpr int LANES = 16, PER_PANEL = 4;  // registers in a row of the 6-row multiplication
  __m512 v;
  DCN_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  DCN_INLINE Vec all(float x) { return {_mm512_set1_ps(x)}; }
  DCN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  DCN_INLINE Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  DCN_INLINE Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  DCN_INLINE Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  DCN_INLINE float sum(Vec a) { return _mm512_reduce_add_ps(a.v); }
  DCN_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
};

template <>
struct Vec<double> {
  static constexpr int LANES = 8, PER_PANEL = 4;
  __m512d v;
  DCN_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  DCN_INLINE Vec all(double x) { return {_mm512_set1_pd(x)}; }
  DCN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  DCN_INLINE Vec mul(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  DCN_INLINE Vec add(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  DCN_INLINE Vec sub(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  DCN_INLINE double sum(Vec a) { return _mm512_reduce_add_pd(a.v); }
  DCN_INLINE void store(double* p, Vec a) { _mm512_storeu_pd(p, a.v); }
};

#elif defined(__AVX2__)

template <>
struct Vec<float> {
  static constexpr int LANES = 8, PER_PANEL = 2;
  __m256 v;
  DCN_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  DCN_INLINE Vec all(float x) { return {_mm256_set1_ps(x)}; }
  DCN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  DCN_INLINE Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  DCN_INLINE Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  DCN_INLINE Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  DCN_INLINE float sum(Vec a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  DCN_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
};

template <>
struct Vec<double> {
  static constexpr int LANES = 4, PER_PANEL = 2;
  __m256d v;
  DCN_INLINE Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  DCN_INLINE Vec all(double x) { return {_mm256_set1_pd(x)}; }
  DCN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  DCN_INLINE Vec mul(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }
  DCN_INLINE Vec add(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  DCN_INLINE Vec sub(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  DCN_INLINE double sum(Vec a) {
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
  DCN_INLINE void store(double* p, Vec a) { _mm256_storeu_pd(p, a.v); }
};

#else  // 16 bytes by the compiler's own vectors: SSE2, NEON, anything

template <class T>
struct Vec {
  static constexpr int LANES = 16 / sizeof(T), PER_PANEL = 2;
  typedef T Register __attribute__((vector_size(16)));
  typedef T Unaligned __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  Register v;
  DCN_INLINE Vec load(const T* p) { return {*reinterpret_cast<const Unaligned*>(p)}; }
  DCN_INLINE Vec all(T x) { return {Register{} + x}; }
  DCN_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
  DCN_INLINE Vec mul(Vec a, Vec b) { return {a.v * b.v}; }
  DCN_INLINE Vec add(Vec a, Vec b) { return {a.v + b.v}; }
  DCN_INLINE Vec sub(Vec a, Vec b) { return {a.v - b.v}; }
  DCN_INLINE T sum(Vec a) {
    T total = a.v[0];
    for (int i = 1; i < LANES; ++i) total += a.v[i];
    return total;
  }
  DCN_INLINE void store(T* p, Vec a) { *reinterpret_cast<Unaligned*>(p) = a.v; }
};

#endif

}  // namespace dcn::cpu::DCN_ISA
