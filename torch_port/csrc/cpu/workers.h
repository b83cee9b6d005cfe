// Work handed out to PyTorch's threads, and memory for it.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/memory.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace dcn::cpu {

// Denormal numbers count as zero while this lives, on the calling thread: they make every multiplication a hundred
// times slower. (torch.set_flush_denormal reaches only the thread that calls it.)
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush to zero, denormals are zero
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

inline int64_t num_threads() { return torch::stable::get_num_threads(); }

// f(begin, end) on slices of [0, count).
template <class F>
void for_slices(int64_t count, int64_t grain, F f) {
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    f(begin, end);
  });
}

// One of several loops that threads run side by side: f(begin, end) on slices of [0, count).
template <class F>
struct Loop {
  int64_t count;
  F f;
};

// Every thread does its slice of each loop, one loop after the other: to begin and end a parallel region takes longer
// than what a small map needs of one.
template <class... F>
void for_slices_of(const Loop<F>&... loops) {
  const int64_t slices = num_threads();
  torch::stable::parallel_for(0, slices, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    (loops.f(loops.count * begin / slices, loops.count * end / slices), ...);
  });
}

// `count` elements, zero if asked for.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count, bool zeroed = false)
      : memory_(static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T)) {
    if (zeroed && !memory_.zero()) clear(count * static_cast<int64_t>(sizeof(T)));
  }
  T* data() const { return static_cast<T*>(memory_.data()); }

 private:
  void clear(int64_t bytes) const {
    constexpr int64_t SLICE = 1 << 19;
    for_slices((bytes + SLICE - 1) / SLICE, 2, [&](int64_t begin, int64_t end) {
      std::memset(static_cast<char*>(memory_.data()) + begin * SLICE, 0, std::min(end * SLICE, bytes) - begin * SLICE);
    });
  }

  Memory memory_;
};

// Each worker makes its own space with make() and then takes units of [0, count) one by one: f(space, unit). Apart: first
// those of its own share, whose memory its cache may hold already, and then what others have left of theirs. What a unit
// computes does not depend on the worker, so results do not either.
template <class Make, class F>
void for_units(int64_t count, bool apart, Make make, F f) {
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };
  const int64_t workers = std::min(count, num_threads()), parts = apart ? workers : 1;
  std::vector<Share> shares(parts);
  for (int64_t i = 0; i < parts; ++i) {
    shares[i].next = count * i / parts;
    shares[i].end = count * (i + 1) / parts;
  }
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    auto space = make();
    for (int64_t i = 0; i < parts; ++i) {
      Share& share = shares[(begin + i) % parts];
      for (int64_t unit = share.next++; unit < share.end; unit = share.next++) f(space, unit);
    }
  });
}

}  // namespace dcn::cpu
