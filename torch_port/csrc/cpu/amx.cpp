// dcn::set_cpu_precision, dcn::cpu_precision, dcn::has_amx. The matrix unit's
// registers have to be asked for, once per process.
#include "cpu/amx.h"

#include <torch/csrc/stable/library.h>

#include <atomic>
#include <stdexcept>
#include <string>

#include "cpu/isa.h"

#if DCN_HAVE_AMX && defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dcn::cpu {
namespace {

#if DCN_HAVE_AMX && defined(__linux__) && defined(__x86_64__)

constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;

bool processor_has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool tiles = d >> 24 & 1, bf16_tiles = d >> 22 & 1;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
  const bool bf16_vectors = a >> 5 & 1;
  return tiles && bf16_tiles && bf16_vectors && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

bool obtained() { return processor_has_amx() && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0; }

#else

bool obtained() { return false; }

#endif

const bool AMX = obtained();

constexpr const char* NAMES[] = {"float32", "bf16x3"};

std::atomic<Precision>& current() {
  static std::atomic<Precision> precision{Precision::float32};
  return precision;
}

std::string cpu_precision() { return NAMES[static_cast<int>(current().load())]; }

// Returns the one before.
std::string set_cpu_precision(std::string name) {
  const std::string before = cpu_precision();
  for (int i = 0; i < 2; ++i) {
    if (name != NAMES[i]) continue;
    current() = static_cast<Precision>(i);
    return before;
  }
  throw std::runtime_error("set_cpu_precision: expected float32 or bf16x3, got " + name);
}

bool has_amx() { return AMX; }

}  // namespace

Precision chosen_precision() { return current(); }

bool amx_available() { return AMX && chosen_isa() == Isa::avx512; }

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def("set_cpu_precision(str name) -> str");
  m.def("cpu_precision() -> str");
  m.def("has_amx() -> bool");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CompositeExplicitAutograd, m) {
  m.impl("set_cpu_precision", TORCH_BOX(&set_cpu_precision));
  m.impl("cpu_precision", TORCH_BOX(&cpu_precision));
  m.impl("has_amx", TORCH_BOX(&has_amx));
}

}  // namespace dcn::cpu
