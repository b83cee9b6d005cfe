// The processor's matrix unit (Intel AMX), and whether convolutions of float32
// data may use it.
#pragma once

namespace dcn::cpu {

// float32: products of float32 numbers. bf16x3: each number split into two
// bfloat16, three products of four.
enum class Precision { float32, bf16x3 };

Precision chosen_precision();

// Whether this build, this processor and the operating system have AMX with
// bfloat16, and the chosen instruction set is the one that goes with it
// (avx512).
bool amx_available();

}  // namespace dcn::cpu
