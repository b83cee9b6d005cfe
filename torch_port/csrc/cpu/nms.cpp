// nms on the CPU: schema, checks. The arithmetic is core/nms.h.
#include "cpu/nms.h"

#include <torch/csrc/stable/library.h>

#include "arguments/proposal.h"

namespace dcn::cpu {
namespace {

template <class T>
std::vector<int64_t> keep_greedily(const Tensor& boxes, const Tensor& scores, double threshold) {
  const T *box = boxes.const_data_ptr<T>(), *score = scores.const_data_ptr<T>();
  std::vector<Ranked> ranked(boxes.size(0));
  for (int64_t i = 0; i < boxes.size(0); ++i) ranked[i] = {descending_key(score[i]), i};
  rank_best(ranked, boxes.size(0));
  GreedySuppression<T> suppression(static_cast<T>(threshold));
  std::vector<int64_t> keep;
  for (const Ranked& r : ranked) {
    const T* b = box + r.index * 4;
    if (suppression.offer(b[0], b[1], b[2], b[3])) keep.push_back(r.index);
  }
  return keep;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  check_nms(boxes, scores);
  const Tensor b = torch::stable::contiguous(boxes), s = torch::stable::contiguous(scores);
  const std::vector<int64_t> keep = boxes.scalar_type() == ScalarType::Float
                                        ? keep_greedily<float>(b, s, iou_threshold)
                                        : keep_greedily<double>(b, s, iou_threshold);
  Tensor result = torch::stable::new_empty(boxes, {static_cast<int64_t>(keep.size())}, ScalarType::Long);
  std::copy(keep.begin(), keep.end(), result.mutable_data_ptr<int64_t>());
  return result;
}

}  // namespace
}  // namespace dcn::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) { m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) { m.impl("nms", TORCH_BOX(&dcn::cpu::nms)); }
