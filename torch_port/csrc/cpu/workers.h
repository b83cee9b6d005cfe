// Work handed out to PyTorch's threads, and memory for it.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace dcn::cpu {

// `count` elements on a cache line's boundary.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count, bool zeroed = false) {
    const size_t bytes = (static_cast<size_t>(count > 0 ? count : 1) * sizeof(T) + 63) / 64 * 64;
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
    if (zeroed) std::memset(static_cast<void*>(data_.get()), 0, bytes);
  }
  T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

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

// Each worker makes its own space with make() and then takes units of [0, count) one by one: f(space, unit).
// What a unit computes does not depend on the worker, so results do not either.
template <class Make, class F>
void for_units(int64_t count, Make make, F f) {
  std::atomic<int64_t> next{0};
  const int64_t workers = count < num_threads() ? count : num_threads();
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    auto space = make();
    for (int64_t unit = next++; unit < count; unit = next++) f(space, unit);
  });
}

}  // namespace dcn::cpu
