// dcn::set_isa and dcn::isa. DCN_ISA=plain|portable|avx2|avx512 in the environment sets the first choice.
#include "cpu/isa.h"

#include <torch/csrc/stable/library.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace dcn::cpu {
namespace {

bool processor_has(Isa isa) {
  switch (isa) {
#if DCN_HAVE_AVX512
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#if DCN_HAVE_AVX2
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    case Isa::portable:
    case Isa::plain: return true;
    default: return false;
  }
}

constexpr const char* NAMES[] = {"plain", "portable", "avx2", "avx512"};

Isa best() {
  if (processor_has(Isa::avx512)) return Isa::avx512;
  return processor_has(Isa::avx2) ? Isa::avx2 : Isa::portable;
}

Isa named(const std::string& name) {
  if (name == "best") return best();
  for (int i = 0; i < 4; ++i) {
    if (name != NAMES[i]) continue;
    if (!processor_has(static_cast<Isa>(i))) throw std::runtime_error("set_isa: this processor has no " + name);
    return static_cast<Isa>(i);
  }
  throw std::runtime_error("set_isa: expected best, avx512, avx2, portable or plain, got " + name);
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{std::getenv("DCN_ISA") ? named(std::getenv("DCN_ISA")) : best()};
  return isa;
}

std::string isa() { return NAMES[static_cast<int>(current().load())]; }

// Returns the one before.
std::string set_isa(std::string name) {
  const std::string before = isa();
  current() = named(name);
  return before;
}

}  // namespace

Isa chosen_isa() { return current(); }

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def("set_isa(str name) -> str");
  m.def("isa() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CompositeExplicitAutograd, m) {
  m.impl("set_isa", TORCH_BOX(&set_isa));
  m.impl("isa", TORCH_BOX(&isa));
}

}  // namespace dcn::cpu
