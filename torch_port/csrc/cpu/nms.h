// Greedy non-maximum suppression of boxes that come best first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/nms.h"
#include "cpu/kernel_choice.h"

namespace dcn::cpu {

// Whether a box overlaps one of `count` kept boxes, whose edges and areas lie in five arrays.
// cpu/simd/nms_any.cpp
#define DCN_DECLARE(isa)                                                                                        \
  namespace isa {                                                                                               \
  bool overlaps_any(const float* const (&kept)[5], int64_t count, const float (&box)[5], float threshold);      \
  bool overlaps_any(const double* const (&kept)[5], int64_t count, const double (&box)[5], double threshold);   \
  }
DCN_DECLARE(portable)
DCN_DECLARE(avx2)
DCN_DECLARE(avx512)
#undef DCN_DECLARE

template <class T>
using OverlapsAny = bool (*)(const T* const (&kept)[5], int64_t count, const T (&box)[5], T threshold);

template <class T>
OverlapsAny<T> chosen_overlaps_any() {
  const OverlapsAny<T> variants[3] = DCN_VARIANTS(overlaps_any);
  return kernel_for_isa(variants);
}

// Keeps boxes one after the other: each is compared with those kept so far, and only until enough are kept.
template <class T>
class GreedySuppression {
 public:
  explicit GreedySuppression(T threshold) : threshold_(threshold), overlaps_any_(chosen_overlaps_any<T>()) {}

  // Whether the box is kept.
  bool offer(T x1, T y1, T x2, T y2) {
    const T box[5] = {x1, y1, x2, y2, box_area(x1, y1, x2, y2)};
    const T* const kept[5] = {kept_[0].data(), kept_[1].data(), kept_[2].data(), kept_[3].data(), kept_[4].data()};
    if (overlaps_any_(kept, size(), box, threshold_)) return false;
    for (int i = 0; i < 5; ++i) kept_[i].push_back(box[i]);
    return true;
  }

  int64_t size() const { return static_cast<int64_t>(kept_[0].size()); }

 private:
  T threshold_;
  OverlapsAny<T> overlaps_any_;
  std::vector<T> kept_[5];
};

struct Ranked {
  uint64_t key;
  int64_t index;
  bool operator<(const Ranked& other) const { return key != other.key ? key < other.key : index < other.index; }
};

// The `count` best, best first; equal scores in the order of their indices.
inline void rank_best(std::vector<Ranked>& ranked, int64_t count) {
  if (count < static_cast<int64_t>(ranked.size())) {
    std::nth_element(ranked.begin(), ranked.begin() + count, ranked.end());
    ranked.resize(count);
  }
  std::sort(ranked.begin(), ranked.end());
}

}  // namespace dcn::cpu
