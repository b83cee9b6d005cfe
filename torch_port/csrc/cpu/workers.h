// Work handed out to PyTorch's threads, and memory for it.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace dcn::cpu {

// Memory on a cache line's boundary. Large blocks come from the system in huge pages where it has them: thousands of
// page faults cost more than what is computed in them.
class Memory {
 public:
  Memory() = default;
  Memory(size_t bytes, bool zeroed) {
#if defined(__linux__)
    if (bytes >= LARGE) {
      map(bytes);
      return;
    }
#endif
    data_ = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!data_) throw std::bad_alloc();
    if (zeroed) std::memset(data_, 0, bytes);
  }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory() {
#if defined(__linux__)
    if (mapped_) {
      munmap(mapped_, mapped_bytes_);
      return;
    }
#endif
    std::free(data_);
  }
  void* data() const { return data_; }

 private:
  static constexpr size_t LARGE = 4 << 20, HUGE_PAGE = 2 << 20;

  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(mapped_, other.mapped_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
  }

#if defined(__linux__)
  void map(size_t bytes) {  // zeroed by the system
    mapped_bytes_ = bytes + HUGE_PAGE;
    mapped_ = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED) {
      mapped_ = nullptr;
      throw std::bad_alloc();
    }
    data_ = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(mapped_) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    madvise(data_, bytes, MADV_HUGEPAGE);  // a hint: may be refused
  }
#endif

  void* data_ = nullptr;
  void* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
};

// `count` elements, zero if asked for.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count, bool zeroed = false)
      : memory_(static_cast<size_t>(count > 0 ? count : 1) * sizeof(T), zeroed) {}
  T* data() const { return static_cast<T*>(memory_.data()); }

 private:
  Memory memory_;
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
