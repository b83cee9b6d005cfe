// Picks the variant of a kernel in cpu/simd for the chosen instruction set.
#pragma once

#include "cpu/isa.h"

// The functions of that name in every namespace that was compiled, for `kernel_for_isa`.
#if DCN_HAVE_AVX512 && DCN_HAVE_AVX2
#define DCN_VARIANTS(function) {portable::function, avx2::function, avx512::function}
#else
#define DCN_VARIANTS(function) {portable::function, portable::function, portable::function}
#endif

namespace dcn::cpu {

// variants: portable, avx2, avx512.
template <class Kernel>
Kernel kernel_for_isa(const Kernel (&variants)[3]) {
  switch (chosen_isa()) {
    case Isa::avx512: return variants[2];
    case Isa::avx2: return variants[1];
    default: return variants[0];
  }
}

}  // namespace dcn::cpu
