// proposal on CUDA, both rule sets, never waiting for the device. The arithmetic is core/proposal.h and core/nms.h, as
// on the CPU; only exp may differ in its last bit. Schema: cpu/proposal.cpp.
#include "core/proposal.h"

#include <torch/csrc/stable/library.h>

#include <tuple>
#include <vector>

#include "arguments/proposal.h"
#include "cuda/nms.cuh"

namespace dcn::cuda {
namespace {

constexpr const char* NAME = "proposal";
constexpr int MOST_ANCHORS = 64;  // they travel as a kernel argument, of which there are 4 kB

// T: type of the tensors; B: type of the boxes (float64 by the Python operator's rules, T by MXNet's).
template <class T, class B>
struct ProposalMaps {
  const T* prob;    // [N, 2A, H, W]; the second half is foreground
  const T* deltas;  // [N, 4A, H, W]
  const T* info;    // [N, 3] height, width, scale
  int64_t images;
  int height, width, num_anchors, stride;
  B min_size;
  Box<B> anchors[MOST_ANCHORS];

  DCN_MEMBER int64_t per_image() const { return static_cast<int64_t>(height) * width * num_anchors; }
};

// One thread per anchor of every cell, in the order y, x, anchor. "python" (KEEP_ALL false) leaves out what is unusable
// or beyond the image; "cxx" keeps it with score -1.
template <class Rules, bool KEEP_ALL, class T, class B>
__global__ void find_candidates(ProposalMaps<T, B> in, B* boxes, double* scores, int64_t* keys) {
  const int64_t count = in.images * in.per_image(), plane = static_cast<int64_t>(in.height) * in.width;
  for (int64_t i = first_element(); i < count; i += element_step()) {
    const int a = static_cast<int>(i % in.num_anchors);
    const int64_t cell = i / in.num_anchors % plane, image = i / in.num_anchors / plane;
    const int y = static_cast<int>(cell / in.width), x = static_cast<int>(cell % in.width);
    const T* info = in.info + image * 3;
    const B image_height = static_cast<B>(info[0]), image_width = static_cast<B>(info[1]);
    const B least = product(in.min_size, static_cast<B>(info[2]));
    const T* d = in.deltas + (image * in.num_anchors + a) * 4 * plane + cell;
    const B delta[4] = {static_cast<B>(d[0]), static_cast<B>(d[plane]), static_cast<B>(d[2 * plane]),
                        static_cast<B>(d[3 * plane])};
    const Candidate<B> c =
        candidate<Rules>(in.anchors[a], x, y, in.stride, delta, image_height, image_width, least);
    const bool usable = c.usable && y < covered_cells(image_height, in.stride, in.height) &&
                        x < covered_cells(image_width, in.stride, in.width);
    const double score =
        usable ? static_cast<double>(in.prob[((image * 2 + 1) * in.num_anchors + a) * plane + cell]) : -1.0;
    boxes[i * 4 + 0] = c.box.x1;
    boxes[i * 4 + 1] = c.box.y1;
    boxes[i * 4 + 2] = c.box.x2;
    boxes[i * 4 + 3] = c.box.y2;
    scores[i] = score;
    keys[i] = sort_key(score, usable || KEEP_ALL);
  }
}

// One thread per output row: a kept proposal, or, beyond them, one of them again.
template <class T, class B>
__global__ void write_rows(Ranking<B> r, const double* candidate_scores, const int64_t* keep, const int64_t* kept,
                           const T* padding, int64_t post, T* rois, T* scores, int64_t rows) {
  for (int64_t i = first_element(); i < rows; i += element_step()) {
    const int64_t image = i / post, row = i % post, valid = kept[image];
    T* roi = rois + i * 5;
    roi[0] = static_cast<T>(image);
    roi[1] = roi[2] = roi[3] = roi[4] = T(0);
    scores[i] = T(0);
    if (valid == 0) continue;
    int64_t from = row % valid;
    if (row >= valid && padding != nullptr) {
      from = clipped_cell(product(padding[i], static_cast<T>(valid)), static_cast<int>(valid - 1));
    }
    const int64_t at = image * r.all + r.order[image * r.all + keep[image * post + from]];
    for (int k = 0; k < 4; ++k) roi[1 + k] = static_cast<T>(r.boxes[at * 4 + k]);
    scores[i] = static_cast<T>(candidate_scores[at]);
  }
}

struct ProposalTensors {
  Tensor prob, delta, info;
  std::optional<Tensor> padding;
  Tensor rois, scores, num_valid;
};

template <class Rules, bool KEEP_ALL, class T>
void propose(ProposalTensors& t, const ProposalParameters& p) {
  using B = typename Rules::Scalar;
  const Launch launch(t.prob);
  ProposalMaps<T, B> maps = {};
  maps.prob = read<T>(t.prob);
  maps.deltas = read<T>(t.delta);
  maps.info = read<T>(t.info);
  maps.images = t.prob.size(0);
  maps.height = static_cast<int>(t.prob.size(2));
  maps.width = static_cast<int>(t.prob.size(3));
  maps.stride = p.stride;
  maps.min_size = static_cast<B>(p.min_size);
  for (const Box<B>& anchor : base_anchors<Rules>(p)) maps.anchors[maps.num_anchors++] = anchor;
  const int64_t all = maps.per_image(), images = maps.images;
  const ScalarType box_type = sizeof(B) == 8 ? ScalarType::Double : ScalarType::Float;
  Tensor boxes = uninitialised(t.prob, Sizes{images, all, 4}, box_type);
  Tensor scores = uninitialised(t.prob, Sizes{images, all}, ScalarType::Double);
  Tensor keys = uninitialised(t.prob, Sizes{images, all}, ScalarType::Long);
  launch.over("proposal, candidates", images * all, find_candidates<Rules, KEEP_ALL, T, B>, maps, write<B>(boxes),
              write<double>(scores), write<int64_t>(keys));
  const auto [ranked, order] = sorted(keys);
  const int64_t best = p.pre > 0 && p.pre < all ? p.pre : all;
  const B threshold = KEEP_ALL ? mxnet_parameter<B>(p.threshold) : static_cast<B>(p.threshold);
  const Ranking<B> ranking = {read<B>(boxes), read<int64_t>(ranked), read<int64_t>(order), all, best, threshold};
  const Kept kept = suppress(launch, ranking, images, p.post, t.prob);
  t.num_valid = kept.count;
  launch.over("proposal, rows", images * p.post, write_rows<T, B>, ranking, read<double>(scores),
              read<int64_t>(kept.rows), read<int64_t>(kept.count), t.padding ? read<T>(*t.padding) : nullptr, p.post,
              write<T>(t.rois), write<T>(t.scores), images * p.post);
}

std::tuple<Tensor, Tensor, Tensor> proposal(const Tensor& class_prob, const Tensor& bbox_delta, const Tensor& im_info,
                                            const std::optional<Tensor>& padding, int64_t feature_stride,
                                            std::vector<double> scales, std::vector<double> ratios,
                                            int64_t pre_nms_top_n, int64_t post_nms_top_n, double nms_thresh,
                                            double min_size, bool cxx_rules) {
  const ProposalParameters p = {checked_positive(NAME, "feature_stride", feature_stride), scales, ratios,
                                pre_nms_top_n, post_nms_top_n, nms_thresh, min_size};
  check_proposal(NAME, class_prob, bbox_delta, im_info, padding, p);
  if (p.num_anchors() > MOST_ANCHORS) {
    refuse(NAME, "scales, ratios: expected at most ", MOST_ANCHORS, " anchors on CUDA, got ", p.num_anchors());
  }
  const int64_t images = class_prob.size(0), rows = images * post_nms_top_n;
  ProposalTensors t = {torch::stable::contiguous(class_prob),
                       torch::stable::contiguous(bbox_delta),
                       torch::stable::contiguous(im_info),
                       dense(padding),
                       torch::stable::new_empty(class_prob, {rows, 5}),
                       torch::stable::new_empty(class_prob, {rows, 1}),
                       torch::stable::new_zeros(class_prob, {images}, ScalarType::Long)};
  const bool small = class_prob.scalar_type() == ScalarType::Float;
  if (cxx_rules) {
    small ? propose<CxxRules<float>, true, float>(t, p) : propose<CxxRules<double>, true, double>(t, p);
  } else {
    small ? propose<PythonRules, false, float>(t, p) : propose<PythonRules, false, double>(t, p);
  }
  return {t.rois, t.scores, t.num_valid};
}

}  // namespace
}  // namespace dcn::cuda

STABLE_TORCH_LIBRARY_IMPL(dcn, CUDA, m) { m.impl("proposal", TORCH_BOX(&dcn::cuda::proposal)); }
