// The machine that csrc/cuda/fused/simt.h describes, on a CPU: every thread of a block is a fiber that runs up to the next
// point where it must wait for its warp or its block. So the very bodies of the kernels run here, with their barriers,
// shared memory, tensor core instructions and asynchronous copies.
//
// Mistakes show because the emulator is unkind: shared memory starts as NaN, warps and lanes run in a chosen order (a
// missing barrier lets the first ones overwrite what the last ones have not read), and asynchronous copies land either
// at once or as late as the program allows.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include <ucontext.h>

#include "cuda/fused/simt.h"

namespace emulator {

using dcn::simt::Vector;

constexpr int THREADS = 256, LANES = 32, STACK = 256 * 1024;

struct Order {
  bool backwards;     // warps and lanes
  bool late_copies;
};

#if defined(__x86_64__)
// Saves what a function call must keep on the stack, and the stack pointer; goes on where `to` was left.
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, .-emulator_switch
)");
#endif

struct Copy {
  void* to;
  Vector value;
};

struct Fiber {
  std::vector<char> stack = std::vector<char>(STACK);
#if defined(__x86_64__)
  void* context = nullptr;
#else
  ucontext_t context;
#endif
  const long* waits_for = nullptr;  // a counter, and the value it had
  long seen = 0;
  bool done = false;
  std::vector<std::vector<Copy>> groups;  // closed, not landed
  std::vector<Copy> open;
};

// Where 32 lanes meet: each leaves its operands, the last one works for all.
struct Meeting {
  long count = 0, generation = 0;
  unsigned in[LANES][8];
  unsigned out[LANES][4];
};

struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  Meeting warps[THREADS / LANES];
  long arrived = 0, generation = 0;
  int current = 0;
  Order order = {false, false};
  std::function<void()> body;
#if defined(__x86_64__)
  void* scheduler = nullptr;
#else
  ucontext_t scheduler;
#endif
};
inline Block block;

inline Fiber& fiber() { return *block.fibers[block.current]; }

inline void leave() {
#if defined(__x86_64__)
  emulator_switch(&fiber().context, block.scheduler);
#else
  swapcontext(&fiber().context, &block.scheduler);
#endif
}
inline void enter(int thread) {
  block.current = thread;
#if defined(__x86_64__)
  emulator_switch(&block.scheduler, fiber().context);
#else
  swapcontext(&block.scheduler, &fiber().context);
#endif
}
inline void wait_for(const long& counter, long seen) {
  fiber().waits_for = &counter;
  fiber().seen = seen;
  leave();
  fiber().waits_for = nullptr;
}

inline void run_fiber() {
  block.body();
  fiber().done = true;
  leave();
  std::abort();
}

inline void start(Fiber& f) {
  f.done = false;
  f.groups.clear(), f.open.clear();
#if defined(__x86_64__)
  auto** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(f.stack.data() + STACK) & ~uintptr_t(15)) - 8);
  *--top = reinterpret_cast<void*>(&run_fiber);  // where `ret` goes; the stack is then as after a call
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.context = top;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.data();
  f.context.uc_stack.ss_size = STACK;
  makecontext(&f.context, run_fiber, 0);
#endif
}

// Runs one block: body() is what each of its threads does.
inline void run_block(Order order, std::function<void()> body) {
  block.order = order;
  block.body = std::move(body);
  block.arrived = 0;
  for (Meeting& m : block.warps) m.count = 0;
  if (block.fibers.empty()) {
    for (int i = 0; i < THREADS; ++i) block.fibers.push_back(std::make_unique<Fiber>());
  }
  for (auto& f : block.fibers) start(*f);
  for (int left = THREADS; left > 0;) {
    bool moved = false;
    for (int w = 0; w < THREADS / LANES; ++w) {
      const int warp = block.order.backwards ? THREADS / LANES - 1 - w : w;
      for (bool again = true; again;) {  // one warp as far as it gets
        again = false;
        for (int l = 0; l < LANES; ++l) {
          const int thread = warp * LANES + (block.order.backwards ? LANES - 1 - l : l);
          Fiber& f = *block.fibers[thread];
          if (f.done || (f.waits_for != nullptr && *f.waits_for == f.seen)) continue;
          enter(thread);
          again = moved = true;
          if (f.done) --left;
        }
      }
    }
    if (!moved && left > 0) {
      std::printf("deadlock: %d threads wait for others that never come\n", left);
      std::exit(1);
    }
  }
}

// The lane's operands to the meeting; `work` runs once, for the whole warp.
template <class Work>
void meet(const void* in, int in_bytes, void* out, int out_bytes, Work work) {
  Meeting& m = block.warps[block.current / LANES];
  const int lane = block.current % LANES;
  std::memcpy(m.in[lane], in, in_bytes);
  const long generation = m.generation;
  if (++m.count == LANES) {
    m.count = 0;
    work(m);
    ++m.generation;
  } else {
    wait_for(m.generation, generation);
  }
  std::memcpy(out, m.out[lane], out_bytes);
}

inline float as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned as_bits(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// ldmatrix x4: the lanes' row addresses come in two words each.
inline void matrices(unsigned (&to)[4], const void* row, bool transposed) {
  meet(&row, sizeof(row), to, sizeof(to), [&](Meeting& m) {
    uint16_t number[4][8][8];
    for (int lane = 0; lane < LANES; ++lane) {
      const uint16_t* from;
      std::memcpy(&from, m.in[lane], sizeof(from));
      if (reinterpret_cast<uintptr_t>(from) % 16 != 0) std::printf("ldmatrix: row not aligned\n"), std::exit(1);
      std::memcpy(number[lane / 8][lane % 8], from, 16);
    }
    for (int lane = 0; lane < LANES; ++lane) {
      for (int k = 0; k < 4; ++k) {
        unsigned pair = 0;
        for (int i = 0; i < 2; ++i) {
          const int r = lane / 4, c = lane % 4 * 2 + i;
          pair |= unsigned(transposed ? number[k][c][r] : number[k][r][c]) << (16 * i);
        }
        m.out[lane][k] = pair;
      }
    }
  });
}

struct Mma {
  float sum[4];
};

// mma: A [16][DEPTH] and B [DEPTH][8] are put together from the lanes' registers by the PTX manual's layout, which is
// written here a second time, in another form than in the kernels.
template <int DEPTH, class Number>
void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], Number number) {
  unsigned in[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  float product[4];
  meet(in, sizeof(in), product, sizeof(product), [&](Meeting& m) {
    constexpr int PER_REGISTER = DEPTH / 8;
    float A[16][DEPTH], B[DEPTH][8];
    for (int lane = 0; lane < LANES; ++lane) {
      for (int i = 0; i < 4; ++i) {
        for (int e = 0; e < PER_REGISTER; ++e) {
          A[(lane >> 2) + (i % 2) * 8][(lane & 3) * PER_REGISTER + e + (i / 2) * (DEPTH / 2)] = number(m.in[lane][i], e);
          if (i < 2) B[(lane & 3) * PER_REGISTER + e + i * (DEPTH / 2)][lane >> 2] = number(m.in[lane][4 + i], e);
        }
      }
    }
    for (int lane = 0; lane < LANES; ++lane) {
      for (int i = 0; i < 4; ++i) {
        float total = 0;
        for (int k = 0; k < DEPTH; ++k) total += A[(lane >> 2) + (i / 2) * 8][k] * B[k][(lane & 3) * 2 + i % 2];
        m.out[lane][i] = as_bits(total);
      }
    }
  });
  for (int i = 0; i < 4; ++i) sum[i] += product[i];
}

// bfloat16 by rounding to nearest even; there is no CUDA header here.
struct Bf16 {
  uint16_t bits = 0;
  Bf16() = default;
  explicit Bf16(float value) {
    const uint32_t u = as_bits(value);
    bits = static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  explicit operator float() const { return as_float(uint32_t(bits) << 16); }
};

inline void land(std::vector<Copy>& copies) {
  for (const Copy& c : copies) std::memcpy(c.to, &c.value, sizeof(c.value));
  copies.clear();
}

}  // namespace emulator

namespace dcn::simt {

inline int thread() { return emulator::block.current; }

inline void barrier() {
  emulator::Block& b = emulator::block;
  const long generation = b.generation;
  if (++b.arrived == emulator::THREADS) {
    b.arrived = 0;
    ++b.generation;
  } else {
    emulator::wait_for(b.generation, generation);
  }
}

inline float lanes_sum(float value) {
  float result;
  emulator::meet(&value, sizeof(value), &result, sizeof(result), [](emulator::Meeting& m) {
    for (int distance = 16; distance > 0; distance /= 2) {
      float next[32];
      for (int l = 0; l < 32; ++l) next[l] = emulator::as_float(m.in[l][0]) + emulator::as_float(m.in[l ^ distance][0]);
      for (int l = 0; l < 32; ++l) m.in[l][0] = m.out[l][0] = emulator::as_bits(next[l]);
    }
  });
  return result;
}

inline void load_matrices(unsigned (&to)[4], const void* row) { emulator::matrices(to, row, false); }
inline void load_matrices_transposed(unsigned (&to)[4], const void* row) { emulator::matrices(to, row, true); }

inline Vector read_vector(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) std::printf("a 16-byte load is not aligned\n"), std::exit(1);
  Vector value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
inline HalfVector read_half_vector(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 8 != 0) std::printf("an 8-byte load is not aligned\n"), std::exit(1);
  HalfVector value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline void copy_async(void* to, const void* from, bool valid) {
  const Vector value = valid ? read_vector(from) : Vector{0, 0, 0, 0};
  emulator::fiber().open.push_back({to, value});
  if (!emulator::block.order.late_copies) emulator::land(emulator::fiber().open);
}
inline void commit_async() {
  emulator::fiber().groups.push_back(std::move(emulator::fiber().open));
  emulator::fiber().open.clear();
}
inline void wait_async_groups(int pending) {
  auto& groups = emulator::fiber().groups;
  while (static_cast<int>(groups.size()) > pending) {
    emulator::land(groups.front());
    groups.erase(groups.begin());
  }
}

inline void add_one(float* to, float v) { *to += v; }
inline void add_one(double* to, double v) { *to += v; }
inline void add_four(float* to, const float (&v)[4]) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0) std::printf("a 4-wide addition is not aligned\n"), std::exit(1);
  for (int i = 0; i < 4; ++i) to[i] += v[i];
}
inline void add_fixed(int64_t* to, int64_t v) { *to += v; }
inline int64_t to_fixed(float v) { return std::llrint(v); }
inline void keep_largest(unsigned* to, float v) { *to = std::max(*to, emulator::as_bits(v)); }

inline unsigned round_to_tf32(unsigned bits) { return (bits + 0x1000) & ~0x1fffu; }

template <class S>
void multiply_matrices(S, float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (sizeof(S) == 2) {
    emulator::multiply<16>(sum, a, b, [](unsigned pair, int which) {
      emulator::Bf16 number;
      number.bits = static_cast<uint16_t>(which ? pair >> 16 : pair);
      return static_cast<float>(number);
    });
  } else {
    emulator::multiply<8>(sum, a, b, [](unsigned bits, int) {
      if (bits & 0x1fff) std::printf("a factor was not rounded to TF32\n"), std::exit(1);
      return emulator::as_float(bits);
    });
  }
}

}  // namespace dcn::simt
