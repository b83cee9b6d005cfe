"""proposal: "cxx" against mx.contrib.Proposal and MultiProposal, "python" against the original's rules in NumPy."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from tolerances import PROPOSAL_PIXELS

from dcn_tasks.proposals import propose
from dcn_tasks.streams import Draws
from torch_port.ops import proposal

RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Case:
    """One call: sizes, the operator's parameters and how scores and deltas are made."""

    height: int = 10
    width: int = 14
    batch: int = 1
    image: tuple[float, float, float] = (160.0, 224.0, 1.0)
    feature_stride: int = 16
    scales: tuple[float, ...] = (8.0, 16.0, 32.0)
    ratios: tuple[float, ...] = RATIOS
    pre: int = 300
    post: int = 40
    thresh: float = 0.7
    min_size: int = 16
    spread: float = 0.3  # of the deltas
    levels: int | None = None  # scores in so many steps, so that they tie
    arrays: tuple[np.ndarray, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        rng = np.random.default_rng(5)
        anchors = len(self.scales) * len(self.ratios)
        prob = rng.uniform(0, 1, (self.batch, 2 * anchors, self.height, self.width)).astype(np.float32)
        if self.levels is not None:
            prob = np.round(prob * self.levels) / np.float32(self.levels)
        delta = rng.standard_normal((self.batch, 4 * anchors, self.height, self.width)).astype(np.float32)
        info = np.float32([self.image] * self.batch)
        info[:, :2] -= 16 * np.arange(self.batch)[:, None]  # images of different sizes
        object.__setattr__(self, "arrays", (prob, (delta * np.float32(self.spread)).astype(np.float32), info))

    def grid(self) -> dict:
        return dict(feature_stride=self.feature_stride, scales=self.scales, ratios=self.ratios)


SCALES_4 = (4.0, 8.0, 16.0, 32.0)
CASES = {
    "rfcn_test_38x63": Case(38, 63, image=(600, 1000, 1.6), pre=6000, post=300),
    "rfcn_train_38x63_four_scales": Case(
        38, 63, image=(600, 1000, 1.6), scales=SCALES_4, pre=6000, post=300, min_size=0
    ),
    "few_kept": Case(thresh=0.1, spread=0.1),
    "nearly_all_kept": Case(thresh=0.95),
    "fewer_boxes_than_rows": Case(2, 3, image=(32, 48, 1), scales=(1.0,), pre=6000, post=30, min_size=2),
    "no_limit_before_suppression": Case(pre=0),
    "pre_below_post": Case(pre=25, post=40),
    "one_row": Case(post=1),
    "map_larger_than_image": Case(image=(150, 200, 1)),
    "stride_32_half_heights": Case(8, 8, image=(256, 256, 1), feature_stride=32, scales=(4.0, 8.0)),
    "stride_8_fractional_scales": Case(feature_stride=8, image=(80, 112, 1), scales=(2.5, 5.0), min_size=4),
    "uneven_ratios": Case(ratios=(0.33, 1.7)),
    "wild_deltas": Case(spread=2.0),
    "tied_scores": Case(levels=7),
    "scores_of_two_values": Case(levels=1, spread=0.5),
    "large_least_size": Case(min_size=60, image=(160, 224, 1.5)),
    "batch_of_3_images": Case(batch=3),
}


def run_ours(case: Case, variant: str, dtype: torch.dtype = torch.float32, **extra) -> list[np.ndarray]:
    tensors = [torch.from_numpy(a).to(dtype) for a in case.arrays]
    parameters = dict(pre_nms_top_n=case.pre, post_nms_top_n=case.post, nms_thresh=case.thresh, min_size=case.min_size)
    return [t.numpy() for t in proposal(*tensors, **case.grid(), **parameters, variant=variant, **extra)]


def run_mxnet(case: Case) -> tuple[np.ndarray, np.ndarray]:
    import mxnet as mx

    operator = mx.nd.contrib.Proposal if case.batch == 1 else mx.nd.contrib.MultiProposal
    parameters = dict(rpn_pre_nms_top_n=case.pre, rpn_post_nms_top_n=case.post, threshold=case.thresh)
    arrays = [mx.nd.array(a) for a in case.arrays]
    rois, scores = operator(*arrays, **case.grid(), **parameters, rpn_min_size=case.min_size, output_score=True)
    return rois.asnumpy(), scores.asnumpy()


@pytest.mark.mxnet
@pytest.mark.parametrize("name", CASES)
def test_cxx_is_mxnets_proposal_bit_for_bit(name: str):
    case = CASES[name]
    rois, scores, num_valid = run_ours(case, "cxx")
    mxnet_rois, mxnet_scores = run_mxnet(case)
    np.testing.assert_array_equal(scores, mxnet_scores)
    np.testing.assert_array_equal(rois, mxnet_rois)
    for image, valid in enumerate(num_valid):
        rows = slice(image * case.post, (image + 1) * case.post)
        assert len(np.unique(rois[rows], axis=0)) <= valid <= case.post


@pytest.mark.mxnet
def test_multi_proposal_on_one_image_is_proposal():
    import mxnet as mx

    case = CASES["few_kept"]
    arrays = [mx.nd.array(a) for a in case.arrays]
    parameters = dict(rpn_pre_nms_top_n=case.pre, rpn_post_nms_top_n=case.post, threshold=case.thresh)
    multi = mx.nd.contrib.MultiProposal(*arrays, **case.grid(), **parameters, rpn_min_size=case.min_size)
    np.testing.assert_array_equal(run_ours(case, "cxx")[0], multi.asnumpy())


@pytest.mark.parametrize("name", CASES)
def test_python_follows_the_original_python_operator(name: str):
    case = CASES[name]
    rois, scores, num_valid = run_ours(case, "python")
    anchors = len(case.scales) * len(case.ratios)
    for image in range(case.batch):
        prob, delta, info = (a[image] for a in case.arrays)
        expected = propose(
            prob[anchors:], delta, info, **case.grid(), pre_nms_top_n=case.pre, post_nms_top_n=case.post,
            nms_thresh=case.thresh, min_size=case.min_size, draws=Draws(0),
        )  # fmt: skip
        assert num_valid[image] == expected.num_valid
        rows = slice(image * case.post, image * case.post + expected.num_valid)
        np.testing.assert_array_equal(scores[rows], expected.scores[: expected.num_valid])
        np.testing.assert_allclose(rois[rows, 1:], expected.rois[: expected.num_valid, 1:], atol=PROPOSAL_PIXELS)
        assert (rois[image * case.post : (image + 1) * case.post, 0] == image).all()


def test_variants_differ_where_the_spec_says():
    """Sides of 22.5: half to even gives 22, half up 23; the cxx variant keeps small boxes with score -1."""
    case = CASES["stride_32_half_heights"]
    assert not np.array_equal(run_ours(case, "cxx")[0], run_ours(case, "python")[0])
    case = Case(2, 3, image=(32, 48, 1), scales=(1.0,), pre=6000, post=30, min_size=17)
    assert (run_ours(case, "cxx")[1] == -1).any()
    assert not (run_ours(case, "python")[1] == -1).any()


def test_missing_rows_are_drawn_from_the_kept_ones_by_the_generator():
    case = CASES["fewer_boxes_than_rows"]

    def draw(seed: int) -> tuple[np.ndarray, int]:
        rois, _, num_valid = run_ours(case, "python", generator=torch.Generator().manual_seed(seed))
        return rois, int(num_valid[0])

    rois, valid = draw(1)
    assert 0 < valid < case.post
    kept = {tuple(row) for row in rois[:valid]}
    assert len(kept) == valid
    assert all(tuple(row) in kept for row in rois[valid:])
    assert np.array_equal(rois, draw(1)[0])
    assert not np.array_equal(rois, draw(2)[0])
    assert len({tuple(row) for row in rois[valid:]}) > 1


def test_without_any_box_python_gives_zeros():
    case = Case(min_size=5000, batch=2)
    rois, scores, num_valid = run_ours(case, "python")
    assert num_valid.tolist() == [0, 0]
    assert (rois[:, 1:] == 0).all() and (scores == 0).all()
    assert rois[:, 0].tolist() == [0] * case.post + [1] * case.post


@pytest.mark.parametrize("variant", ["python", "cxx"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_damaged_deltas_and_scores_give_finite_boxes(variant: str, value: float):
    case = Case()
    case.arrays[0][0, 9:, ::2] = value
    case.arrays[1][0, :, :, ::3] = value
    rois, _, num_valid = run_ours(case, variant)
    assert np.isfinite(rois).all()
    assert num_valid[0] > 0
    assert (rois[:, [1, 3]] <= 223 + 8).all() and (rois[:, 1:] >= -8).all()  # cxx: small boxes grow beyond the image


def test_damaged_im_info_does_not_crash():
    case = Case()
    case.arrays[2][:] = np.nan
    for variant in ("python", "cxx"):
        assert np.isfinite(run_ours(case, variant)[0]).all()


@pytest.mark.parametrize("variant", ["python", "cxx"])
def test_float64_and_strides(variant: str):
    case = CASES["batch_of_3_images"]
    single, double = run_ours(case, variant)[0], run_ours(case, variant, torch.float64)[0]
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, atol=1e-3)
    tensors = [torch.from_numpy(a) for a in case.arrays]
    parameters = dict(pre_nms_top_n=case.pre, post_nms_top_n=case.post, nms_thresh=case.thresh, min_size=case.min_size)
    last = [t.to(memory_format=torch.channels_last) for t in tensors[:2]] + [tensors[2].T.contiguous().T]
    assert torch.equal(proposal(*last, **case.grid(), **parameters, variant="cxx")[0], proposal(
        *tensors, **case.grid(), **parameters, variant="cxx")[0])  # fmt: skip


def test_no_images_and_no_cells():
    for shape in ((0, 10, 14), (2, 0, 14)):
        n, h, w = shape
        rois, scores, num_valid = proposal(
            torch.zeros(n, 18, h, w), torch.zeros(n, 36, h, w), torch.zeros(n, 3), feature_stride=16,
            scales=(8, 16, 32), ratios=RATIOS, pre_nms_top_n=10, post_nms_top_n=5, nms_thresh=0.7, min_size=16,
            variant="cxx",
        )  # fmt: skip
        assert rois.shape == (5 * n, 5) and scores.shape == (5 * n, 1)
        assert num_valid.tolist() == [0] * n and (rois[:, 1:] == 0).all()


def test_no_gradient_flows():
    case = Case()
    tensors = [torch.from_numpy(a).requires_grad_() for a in case.arrays]
    outputs = proposal(*tensors, **case.grid(), pre_nms_top_n=50, post_nms_top_n=9, nms_thresh=0.7, min_size=16)
    assert not any(t.requires_grad for t in outputs)


GOOD = dict(
    feature_stride=16, scales=(8.0,), ratios=(1.0, 2.0), pre_nms_top_n=9, post_nms_top_n=4, nms_thresh=0.7, min_size=1
)
WRONG = {
    "class_prob": (
        dict(class_prob=(1, 5, 3, 3)),
        {},
        r"class_prob: expected \[N, 4, H, W\] \(2 anchors: .* got \[1, 5",
    ),
    "bbox_delta": (dict(bbox_delta=(1, 8, 3, 4)), {}, r"bbox_delta: expected \[1, 8, 3, 3\], got \[1, 8, 3, 4\]"),
    "im_info": (dict(im_info=(2, 3)), {}, r"im_info: expected \[1, 3\] = height, width, scale, got \[2, 3\]"),
    "no_scales": ({}, dict(scales=()), r"scales, ratios: expected at least one each, got 0, 2"),
    "post": ({}, dict(post_nms_top_n=0), r"post_nms_top_n: expected at least 1, got 0"),
    "variant": ({}, dict(variant="c++"), r'variant: expected "python" or "cxx", got'),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_argument_is_refused_in_words(name: str, device: str):
    shapes, parameters, message = WRONG[name]
    shapes = {"class_prob": (1, 4, 3, 3), "bbox_delta": (1, 8, 3, 3), "im_info": (1, 3), **shapes}
    tensors = {k: torch.zeros(v, device=device) for k, v in shapes.items()}
    with pytest.raises(RuntimeError, match="proposal: " + message):
        proposal(**tensors, **{**GOOD, "variant": "cxx", **parameters})


def test_opcheck_vmap_and_compile():
    case = Case(4, 5, image=(64, 80, 1), pre=60, post=7, min_size=4)
    tensors = [torch.from_numpy(a) for a in case.arrays]
    parameters = dict(pre_nms_top_n=case.pre, post_nms_top_n=case.post, nms_thresh=case.thresh, min_size=4.0)
    grid = {k: list(v) if isinstance(v, tuple) else v for k, v in case.grid().items()}
    torch.library.opcheck(torch.ops.dcn.proposal.default, (*tensors, None), {**grid, **parameters, "cxx_rules": True})
    torch.library.opcheck(torch.ops.dcn.proposal.default, (*tensors, torch.rand(1, 7)), {**grid, **parameters})

    def rois(prob: torch.Tensor) -> torch.Tensor:
        return proposal(prob, *tensors[1:], **grid, **parameters, variant="cxx")[0]

    assert torch.equal(torch.compile(rois, backend="aot_eager", fullgraph=True)(tensors[0]), rois(tensors[0]))
    both = torch.vmap(rois)(torch.stack([tensors[0], 1 - tensors[0]]))
    assert torch.equal(both[1], rois(1 - tensors[0]))
