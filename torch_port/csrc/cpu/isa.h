// Which instruction set the kernels use. Chosen by what the processor has; a test can force a lower one.
#pragma once

namespace dcn::cpu {

// `plain`: core's functions in plain loops, where an operator has them.
enum class Isa { plain, portable, avx2, avx512 };

Isa chosen_isa();

}  // namespace dcn::cpu
