// Argument checks of nms and proposal, the same on every device.
#pragma once

#include <optional>
#include <vector>

#include "arguments/roi_pooling.h"

namespace dcn {

inline void check_nms(const Tensor& boxes, const Tensor& scores) {
  constexpr const char* NAME = "nms";
  if (boxes.dim() != 2 || boxes.size(1) != 4) {
    refuse(NAME, "boxes: expected [N, 4] = x1, y1, x2, y2, got ", shape_text(boxes));
  }
  if (scores.dim() != 1 || scores.size(0) != boxes.size(0)) {
    refuse(NAME, "scores: expected [", boxes.size(0), "], got ", shape_text(scores));
  }
  if (!is_float32_or_float64(boxes)) {
    refuse(NAME, "boxes: expected float32 or float64, got ", dtype_text(boxes), ": use .float()");
  }
  if (scores.scalar_type() != boxes.scalar_type()) {
    refuse(NAME, "scores: expected boxes' type ", dtype_text(boxes), ", got ", dtype_text(scores));
  }
  check_device(NAME, "scores", scores, boxes);
}

struct ProposalParameters {
  int stride;
  std::vector<double> scales, ratios;
  int64_t pre, post;
  double threshold, min_size;

  int64_t num_anchors() const { return static_cast<int64_t>(scales.size() * ratios.size()); }
};

// Rules::base_anchor of every ratio and, within it, every scale.
template <class Rules>
inline auto base_anchors(const ProposalParameters& p) {
  using B = typename Rules::Scalar;
  std::vector<decltype(Rules::base_anchor(p.stride, B(), B()))> anchors;
  for (const double ratio : p.ratios) {
    for (const double scale : p.scales) {
      anchors.push_back(Rules::base_anchor(p.stride, static_cast<B>(ratio), static_cast<B>(scale)));
    }
  }
  return anchors;
}

inline void check_proposal_numbers(const char* op, const ProposalParameters& p) {
  if (p.num_anchors() == 0) {
    refuse(op, "scales, ratios: expected at least one each, got ", p.scales.size(), ", ", p.ratios.size());
  }
  for (const double scale : p.scales) {
    if (!(scale > 0)) refuse(op, "scales: expected positive numbers, got ", scale);
  }
  for (const double ratio : p.ratios) {
    if (!(ratio > 0)) refuse(op, "ratios: expected positive numbers, got ", ratio);
  }
  if (p.post < 1) refuse(op, "post_nms_top_n: expected at least 1, got ", p.post);
}

inline void check_proposal(const char* op, const Tensor& prob, const Tensor& delta, const Tensor& info,
                           const std::optional<Tensor>& padding, const ProposalParameters& p) {
  check_proposal_numbers(op, p);
  const int64_t anchors = p.num_anchors();
  if (prob.dim() != 4 || prob.size(1) != 2 * anchors) {
    refuse(op, "class_prob: expected [N, ", 2 * anchors, ", H, W] (", anchors,
           " anchors: background, then foreground), got ", shape_text(prob));
  }
  if (!has_shape(delta, {prob.size(0), 4 * anchors, prob.size(2), prob.size(3)})) {
    refuse(op, "bbox_delta: expected [", prob.size(0), ", ", 4 * anchors, ", ", prob.size(2), ", ", prob.size(3),
           "], got ", shape_text(delta));
  }
  if (!has_shape(info, {prob.size(0), 3})) {
    refuse(op, "im_info: expected [", prob.size(0), ", 3] = height, width, scale, got ", shape_text(info));
  }
  if (padding && !has_shape(*padding, {prob.size(0), p.post})) {
    refuse(op, "padding: expected [", prob.size(0), ", ", p.post, "], got ", shape_text(*padding));
  }
  if (!is_float32_or_float64(prob)) {
    refuse(op, "class_prob: expected float32 or float64, got ", dtype_text(prob), ": use .float()");
  }
  const auto check_like_prob = [&](const char* name, const Tensor& t) {
    if (t.scalar_type() != prob.scalar_type()) {
      refuse(op, name, ": expected class_prob's type ", dtype_text(prob), ", got ", dtype_text(t));
    }
    check_device(op, name, t, prob);
  };
  check_like_prob("bbox_delta", delta);
  check_like_prob("im_info", info);
  if (padding) check_like_prob("padding", *padding);
}

}  // namespace dcn
