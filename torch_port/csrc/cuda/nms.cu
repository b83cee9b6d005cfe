// nms on CUDA. Schema: cpu/nms.cpp. Waits for the device once: the number of kept boxes is the size of the result.
#include "cuda/nms.cuh"

#include <torch/csrc/stable/library.h>

#include "arguments/proposal.h"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "nms";

template <class T>
__global__ void score_keys(const T* scores, int64_t* keys, int64_t count) {
  for (int64_t i = first_element(); i < count; i += element_step()) {
    keys[i] = sort_key(static_cast<double>(scores[i]), true);
  }
}

__global__ void gather_order(const int64_t* order, const int64_t* rows, int64_t* keep, int64_t count) {
  for (int64_t i = first_element(); i < count; i += element_step()) keep[i] = order[rows[i]];
}

template <class T>
Tensor keep_boxes(const Tensor& boxes, const Tensor& scores, double threshold) {
  const Launch launch(boxes);
  const int64_t count = boxes.size(0);
  const Tensor b = torch::stable::contiguous(boxes), s = torch::stable::contiguous(scores);
  Tensor keys = torch::stable::new_empty(boxes, {1, count}, ScalarType::Long);
  launch.over("nms, keys", count, score_keys<T>, read<T>(s), write<int64_t>(keys), count);
  const auto [ranked, order] = sorted(keys);
  const Ranking<T> ranking = {read<T>(b), read<int64_t>(ranked), read<int64_t>(order), count, count,
                              static_cast<T>(threshold)};
  const Kept kept = suppress(launch, ranking, 1, count, boxes);
  int64_t size = 0;
  check(cudaMemcpyAsync(&size, read<int64_t>(kept.count), sizeof(size), cudaMemcpyDeviceToHost, launch.stream()), NAME);
  check(cudaStreamSynchronize(launch.stream()), NAME);
  Tensor keep = torch::stable::new_empty(boxes, {size}, ScalarType::Long);
  launch.over("nms, result", size, gather_order, read<int64_t>(order), read<int64_t>(kept.rows), write<int64_t>(keep),
              size);
  return keep;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  check_nms(boxes, scores);
  if (boxes.size(0) == 0) return torch::stable::new_empty(boxes, {0}, ScalarType::Long);
  return boxes.scalar_type() == ScalarType::Float ? keep_boxes<float>(boxes, scores, iou_threshold)
                                                  : keep_boxes<double>(boxes, scores, iou_threshold);
}

}  // namespace
}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) { m.impl("nms", TORCH_BOX(&dcn::cuda::nms)); }
