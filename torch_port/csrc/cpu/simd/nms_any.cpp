// One box against many, a vector of them at a time; compiled once per instruction set. Arithmetic of core/nms.h.
#include "cpu/nms.h"

namespace dcn::cpu::DCN_ISA {
namespace {

template <class T>
DCN_HD bool any(const T* const (&kept)[5], int64_t count, const T (&box)[5], T threshold) {
  constexpr int64_t COUNT = 128 / sizeof(T);
  const T *x1 = kept[0], *y1 = kept[1], *x2 = kept[2], *y2 = kept[3], *area = kept[4];
  int64_t i = 0;
  for (; i + COUNT <= count; i += COUNT) {
    int hits = 0;
    for (int64_t lane = i; lane < i + COUNT; ++lane) {
      hits |= overlaps(x1[lane], y1[lane], x2[lane], y2[lane], area[lane], box[0], box[1], box[2], box[3], box[4],
                       threshold)
                  ? 1
                  : 0;
    }
    if (hits) return true;
  }
  for (; i < count; ++i) {
    if (overlaps(x1[i], y1[i], x2[i], y2[i], area[i], box[0], box[1], box[2], box[3], box[4], threshold)) return true;
  }
  return false;
}

}  // namespace

bool overlaps_any(const float* const (&kept)[5], int64_t count, const float (&box)[5], float threshold) {
  return any(kept, count, box, threshold);
}
bool overlaps_any(const double* const (&kept)[5], int64_t count, const double (&box)[5], double threshold) {
  return any(kept, count, box, threshold);
}

}  // namespace dcn::cpu::DCN_ISA
