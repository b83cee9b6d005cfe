// Transposition of matrices, once per instruction set.
#include "cpu/simd/transpose.h"

#include "cpu/transpose.h"

namespace dcn::cpu::DCN_ISA {

#define DCN_DEFINE(T)                                                                                           \
  void transpose_matrix(int64_t rows, int64_t columns, const T* from, int64_t from_pitch, T* to, int64_t pitch) { \
    transpose_any(rows, columns, from, from_pitch, to, pitch);                                                  \
  }
DCN_DEFINE(float)
DCN_DEFINE(double)

}  // namespace dcn::cpu::DCN_ISA
