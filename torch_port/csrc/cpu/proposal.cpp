// proposal on the CPU: schema, checks, threads over images. The arithmetic is core/proposal.h and core/nms.h.
#include "core/proposal.h"

#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "arguments/proposal.h"
#include "cpu/nms.h"

namespace dcn::cpu {
namespace {

constexpr const char* NAME = "proposal";

template <class T>
struct ProposalImage {
  const T* scores;   // foreground [A, H, W]
  const T* deltas;   // [4A, H, W]
  const T* info;     // height, width, scale
  const T* padding;  // [post] in [0, 1), or null
  int64_t image;
  int height, width;
  T* rois;       // [post, 5]
  T* out_scores;  // [post]
};

template <class B>
struct Candidates {
  std::vector<Box<B>> boxes;
  std::vector<Ranked> ranked;  // index: into boxes
  std::vector<double> scores;
};

// Every anchor's box in the order y, x, anchor. "python" leaves out what is unusable or beyond the image; "cxx" keeps
// it with score -1.
template <class Rules, bool KEEP_ALL, class T>
Candidates<typename Rules::Scalar> candidates(const ProposalImage<T>& in, const ProposalParameters& p) {
  using B = typename Rules::Scalar;
  const std::vector<Box<B>> anchors = base_anchors<Rules>(p);
  const B image_height = in.info[0], image_width = in.info[1];
  const B least = product(static_cast<B>(p.min_size), static_cast<B>(in.info[2]));
  const int rows = covered_cells(image_height, p.stride, in.height);
  const int columns = covered_cells(image_width, p.stride, in.width);
  const int64_t plane = static_cast<int64_t>(in.height) * in.width;
  Candidates<B> found;
  found.boxes.reserve(plane * anchors.size());
  found.ranked.reserve(plane * anchors.size());
  found.scores.reserve(plane * anchors.size());
  for (int y = 0; y < (KEEP_ALL ? in.height : rows); ++y) {
    for (int x = 0; x < (KEEP_ALL ? in.width : columns); ++x) {
      const int64_t cell = static_cast<int64_t>(y) * in.width + x;
      for (size_t a = 0; a < anchors.size(); ++a) {
        const T* d = in.deltas + 4 * a * plane + cell;
        const B delta[4] = {static_cast<B>(d[0]), static_cast<B>(d[plane]), static_cast<B>(d[2 * plane]),
                            static_cast<B>(d[3 * plane])};
        const Candidate<B> c = candidate<Rules>(anchors[a], x, y, p.stride, delta, image_height, image_width, least);
        const bool usable = c.usable && y < rows && x < columns;
        if (!usable && !KEEP_ALL) continue;
        const double score = usable ? static_cast<double>(in.scores[a * plane + cell]) : -1.0;
        found.ranked.push_back({descending_key(score), static_cast<int64_t>(found.boxes.size())});
        found.boxes.push_back(c.box);
        found.scores.push_back(score);
      }
    }
  }
  return found;
}

// Fills one image's rows; returns how many are distinct proposals.
template <class Rules, bool KEEP_ALL, class T>
int64_t propose(const ProposalImage<T>& in, const ProposalParameters& p) {
  using B = typename Rules::Scalar;
  Candidates<B> found = candidates<Rules, KEEP_ALL>(in, p);
  const int64_t all = static_cast<int64_t>(found.boxes.size());
  rank_best(found.ranked, p.pre > 0 ? std::min(p.pre, all) : all);
  GreedySuppression<B> suppression(KEEP_ALL ? mxnet_parameter<B>(p.threshold) : static_cast<B>(p.threshold));
  std::vector<int64_t> keep;
  for (const Ranked& r : found.ranked) {
    if (static_cast<int64_t>(keep.size()) == p.post) break;
    const Box<B>& b = found.boxes[r.index];
    if (suppression.offer(b.x1, b.y1, b.x2, b.y2)) keep.push_back(r.index);
  }
  const int64_t valid = static_cast<int64_t>(keep.size());
  for (int64_t row = 0; row < p.post; ++row) {
    T* roi = in.rois + row * 5;
    std::fill(roi, roi + 5, T(0));
    roi[0] = static_cast<T>(in.image);
    in.out_scores[row] = T(0);
    if (valid == 0) continue;
    int64_t from = row % valid;
    if (row >= valid && in.padding != nullptr) {
      from = clipped_cell(in.padding[row] * static_cast<T>(valid), static_cast<int>(valid - 1));
    }
    const Box<B>& b = found.boxes[keep[from]];
    roi[1] = static_cast<T>(b.x1);
    roi[2] = static_cast<T>(b.y1);
    roi[3] = static_cast<T>(b.x2);
    roi[4] = static_cast<T>(b.y2);
    in.out_scores[row] = static_cast<T>(found.scores[keep[from]]);
  }
  return valid;
}

template <class T>
void run(const Tensor& prob, const Tensor& delta, const Tensor& info, const std::optional<Tensor>& padding,
         const ProposalParameters& p, bool cxx_rules, Tensor& rois, Tensor& scores, Tensor& num_valid) {
  const int64_t anchors = prob.size(1) / 2, plane = prob.size(2) * prob.size(3);
  const T *prob_data = prob.const_data_ptr<T>(), *delta_data = delta.const_data_ptr<T>();
  const T* info_data = info.const_data_ptr<T>();
  const T* padding_data = padding ? padding->const_data_ptr<T>() : nullptr;
  T *roi_data = rois.mutable_data_ptr<T>(), *score_data = scores.mutable_data_ptr<T>();
  int64_t* valid = num_valid.mutable_data_ptr<int64_t>();
  torch::stable::parallel_for(0, prob.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const ProposalImage<T> image = {prob_data + (i * 2 + 1) * anchors * plane,
                                      delta_data + i * 4 * anchors * plane,
                                      info_data + i * 3,
                                      padding_data ? padding_data + i * p.post : nullptr,
                                      i,
                                      static_cast<int>(prob.size(2)),
                                      static_cast<int>(prob.size(3)),
                                      roi_data + i * p.post * 5,
                                      score_data + i * p.post};
      valid[i] = cxx_rules ? propose<CxxRules<T>, true>(image, p) : propose<PythonRules, false>(image, p);
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> proposal(const Tensor& class_prob, const Tensor& bbox_delta, const Tensor& im_info,
                                            const std::optional<Tensor>& padding, int64_t feature_stride,
                                            std::vector<double> scales, std::vector<double> ratios,
                                            int64_t pre_nms_top_n, int64_t post_nms_top_n, double nms_thresh,
                                            double min_size, bool cxx_rules) {
  const ProposalParameters p = {checked_positive(NAME, "feature_stride", feature_stride), scales, ratios,
                                pre_nms_top_n, post_nms_top_n, nms_thresh, min_size};
  check_proposal(NAME, class_prob, bbox_delta, im_info, padding, p);
  const Tensor prob = torch::stable::contiguous(class_prob), delta = torch::stable::contiguous(bbox_delta);
  const Tensor info = torch::stable::contiguous(im_info);
  const std::optional<Tensor> pad = dense(padding);
  const int64_t rows = class_prob.size(0) * post_nms_top_n;
  Tensor rois = torch::stable::new_empty(info, {rows, 5}), scores = torch::stable::new_empty(info, {rows, 1});
  Tensor num_valid = torch::stable::new_empty(info, {class_prob.size(0)}, ScalarType::Long);
  if (class_prob.scalar_type() == ScalarType::Float) {
    run<float>(prob, delta, info, pad, p, cxx_rules, rois, scores, num_valid);
  } else {
    run<double>(prob, delta, info, pad, p, cxx_rules, rois, scores, num_valid);
  }
  return {rois, scores, num_valid};
}

}  // namespace
}  // namespace dcn::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(dcn, m) {
  m.def(
      "proposal(Tensor class_prob, Tensor bbox_delta, Tensor im_info, Tensor? padding=None, *, int feature_stride, "
      "float[] scales, float[] ratios, int pre_nms_top_n, int post_nms_top_n, float nms_thresh, float min_size, "
      "bool cxx_rules=False) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(dcn, CPU, m) { m.impl("proposal", TORCH_BOX(&dcn::cpu::proposal)); }
