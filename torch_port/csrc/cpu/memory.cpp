// Large blocks of memory in pages that outlive a call. dcn::free_kept_memory.
#include "cpu/memory.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace dcn::cpu {
namespace {

#if defined(__linux__)

constexpr size_t HUGE_PAGE = 2 << 20;

// Address space in huge pages; nothing is resident before it is written. Null: there is none.
char* reserved(size_t bytes) {
  void* all = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  madvise(all, bytes, MADV_HUGEPAGE);  // a hint: may be refused
  return static_cast<char*>(all);
}

// The first boundary of huge pages from `p` on.
char* aligned(char* p) {
  return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(p) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
}

struct Range {
  size_t begin, end;
};

// One range of addresses, lent out from its lower end, so that as few pages as possible are ever used.
class Kept {
 public:
  struct Lent {
    char* data;  // null: no room
    bool zero;
  };

  Lent lend(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; base_ && i < free_.size(); ++i) {
      Range& range = free_[i];
      if (range.end - range.begin < bytes) continue;
      const size_t begin = range.begin;
      range.begin += bytes;
      if (range.begin == range.end) free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
      const bool zero = begin >= used_;
      used_ = std::max(used_, begin + bytes);
      return {base_ + begin, zero};
    }
    return {nullptr, false};
  }

  void take_back(void* data, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t begin = static_cast<size_t>(static_cast<char*>(data) - base_);
    const auto after =
        std::find_if(free_.begin(), free_.end(), [&](const Range& range) { return range.begin > begin; });
    const size_t at = static_cast<size_t>(free_.insert(after, {begin, begin + bytes}) - free_.begin());
    join(at + 1);
    join(at);
  }

  void free_pages() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Range& range : free_) {
      const size_t begin = (range.begin + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE,
                   end = range.end / HUGE_PAGE * HUGE_PAGE;
      if (end > begin && begin < used_) madvise(base_ + begin, end - begin, MADV_DONTNEED);
    }
    // What lies below the last block in use may hold anything, also in a page's rest.
    const size_t last = free_.empty() || free_.back().end < SIZE ? SIZE : free_.back().begin;
    used_ = std::min(used_, (last + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
  }

 private:
  static constexpr size_t SIZE = Memory::KEPT_BYTES;

  // Range i and the one before it, where they touch.
  void join(size_t i) {
    if (i == 0 || i >= free_.size() || free_[i - 1].end != free_[i].begin) return;
    free_[i - 1].end = free_[i].end;
    free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  std::mutex mutex_;
  char* base_ = aligned(reserved(SIZE + HUGE_PAGE));
  std::vector<Range> free_{{0, SIZE}};  // in order
  size_t used_ = 0;                     // nothing was ever written from here on
};

Kept& kept() {
  static Kept* all = new Kept;  // never destroyed: threads may still give back when the process ends
  return *all;
}

void free_kept_memory() { kept().free_pages(); }

constexpr size_t LARGE_RESULT = 16 * HUGE_PAGE;  // from there on the C library fetches every block anew

#else

void free_kept_memory() {}

#endif

size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

void advise_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  if (bytes < LARGE_RESULT) return;
  char* const first = aligned(static_cast<char*>(data));
  const size_t whole = static_cast<size_t>(static_cast<char*>(data) + bytes - first) / HUGE_PAGE * HUGE_PAGE;
  madvise(first, whole, MADV_HUGEPAGE);
#endif
}

Memory::Memory(size_t bytes) : bytes_(whole_lines(bytes)) {
#if defined(__linux__)
  if (bytes >= LARGE) {
    const Kept::Lent lent = kept().lend(bytes_);
    data_ = lent.data ? lent.data : reserved(bytes_);
    source_ = lent.data ? Source::kept : Source::system;
    zero_ = !lent.data || lent.zero;
    if (!data_) throw std::bad_alloc();
    return;
  }
#endif
  data_ = std::aligned_alloc(64, bytes_);
  if (!data_) throw std::bad_alloc();
}

Memory::~Memory() {
#if defined(__linux__)
  if (source_ == Source::kept) kept().take_back(data_, bytes_);
  if (source_ == Source::system) munmap(data_, bytes_);
#endif
  if (source_ == Source::heap) std::free(data_);
}

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) { m.def("free_kept_memory() -> ()"); }

STABLE_TORCH_LIBRARY_IMPL(dcn, CompositeExplicitAutograd, m) {
  m.impl("free_kept_memory", TORCH_BOX(&free_kept_memory));
}

}  // namespace dcn::cpu
