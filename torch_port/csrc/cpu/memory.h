// Memory for the kernels, on a cache line's boundary.
#pragma once

#include <cstddef>
#include <utility>

namespace dcn::cpu {

// Large blocks lie in one range of huge pages (where the system has them) that the process keeps, up to KEPT_BYTES:
// fetching, clearing and returning pages costs more than what is computed in them. Pages are fetched when they are
// first used. torch.ops.dcn.free_kept_memory() gives those that nobody uses back to the system.
class Memory {
 public:
  static constexpr size_t LARGE = 1 << 18, KEPT_BYTES = 256 << 20;

  Memory() = default;
  explicit Memory(size_t bytes);
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory();

  void* data() const { return data_; }
  bool zero() const { return zero_; }  // fresh from the system: all bytes are 0

 private:
  enum class Source { heap, kept, system };

  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(source_, other.source_);
    std::swap(zero_, other.zero_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
  Source source_ = Source::heap;
  bool zero_ = false;
};

// Asks the system for huge pages where a result of that size will lie: fetching a small page costs more than what is
// written into it. A hint; of what is resident already nothing changes.
void advise_huge_pages(void* data, size_t bytes);

}  // namespace dcn::cpu
