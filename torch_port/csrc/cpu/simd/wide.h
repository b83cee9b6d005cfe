// A register full of T as one value, by the compiler's own vectors, with gathers. For files that are compiled once per
// instruction set: everything is inlined.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12's own undefined registers
#endif
#pragma GCC diagnostic ignored "-Wpsabi"  // nothing here crosses a function boundary

namespace dcn::cpu::DCN_ISA {

#if defined(__AVX512F__)
#define DCN_REGISTER_BYTES 64
#elif defined(__AVX2__)
#define DCN_REGISTER_BYTES 32
#else
#define DCN_REGISTER_BYTES 16
#endif

// Real: T per lane. Int: as wide; comparisons give -1 (true) or 0 per lane.
template <class T>
struct Wide;

template <>
struct Wide<float> {
  static constexpr int LANES = DCN_REGISTER_BYTES / 4;
  typedef float Real __attribute__((vector_size(DCN_REGISTER_BYTES)));
  typedef int32_t Int __attribute__((vector_size(DCN_REGISTER_BYTES)));
};

template <>
struct Wide<double> {
  static constexpr int LANES = DCN_REGISTER_BYTES / 8;
  typedef double Real __attribute__((vector_size(DCN_REGISTER_BYTES)));
  typedef int64_t Int __attribute__((vector_size(DCN_REGISTER_BYTES)));
};

static inline __attribute__((always_inline)) Wide<float>::Real gather(const float* base, Wide<float>::Int index) {
#if defined(__AVX512F__)
  return reinterpret_cast<Wide<float>::Real>(_mm512_i32gather_ps(reinterpret_cast<__m512i>(index), base, 4));
#elif defined(__AVX2__)
  return reinterpret_cast<Wide<float>::Real>(_mm256_i32gather_ps(base, reinterpret_cast<__m256i>(index), 4));
#else
  Wide<float>::Real values;
  for (int lane = 0; lane < Wide<float>::LANES; ++lane) values[lane] = base[index[lane]];
  return values;
#endif
}

static inline __attribute__((always_inline)) Wide<double>::Real gather(const double* base, Wide<double>::Int index) {
#if defined(__AVX512F__)
  return reinterpret_cast<Wide<double>::Real>(_mm512_i64gather_pd(reinterpret_cast<__m512i>(index), base, 8));
#elif defined(__AVX2__)
  const __m256i lanes = reinterpret_cast<__m256i>(index);
  return reinterpret_cast<Wide<double>::Real>(_mm256_i64gather_pd(base, lanes, 8));
#else
  Wide<double>::Real values;
  for (int lane = 0; lane < Wide<double>::LANES; ++lane) values[lane] = base[index[lane]];
  return values;
#endif
}

}  // namespace dcn::cpu::DCN_ISA
