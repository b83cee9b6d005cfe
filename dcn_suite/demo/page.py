"""The demo's page: one HTML file with its pictures inside."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader

from dcn_suite.demo.story import SHOWN_SCORE, Story
from dcn_suite.parity.report import EXPLAINED
from dcn_suite.parity.run import versions
from dcn_suite.pictures import beside, data_uri, draw_detections, draw_points, save_png
from dcn_suite.plots import loss_curves
from dcn_suite.sampling import deform_conv_points
from dcn_tasks.files import atomic_path

PICTURED = 6  # scenes drawn side by side
POINTED = 6  # objects drawn with their sampling points
DRAWN_SCORE = 0.3
SCALE = 2
DILATION = 2  # of res5


def write_page(story: Story, seconds: float) -> Path:
    """Draw, fill the template, write OUT/index.html and the pictures beside it. Returns the page's path."""
    pictures = side_by_side(story)
    points = sampling_pictures(story)
    for index, picture in enumerate(pictures):
        save_png(story.out / "pictures" / f"scene_{index}.png", picture)
    for index, (picture, _) in enumerate(points):
        save_png(story.out / "pictures" / f"sampling_{index}.png", picture)
    environment = Environment(loader=PackageLoader("dcn_suite.demo", "."), autoescape=True)
    text = environment.get_template("demo.html.j2").render(
        **facts(story, seconds),
        agreement={"text": agreement_text(story), "pictures": [data_uri(picture, quality=90) for picture in pictures]},
        sampling={
            "text": sampling_text(story),
            "pictures": [{"image": data_uri(picture, quality=90), "caption": caption} for picture, caption in points],
        },
    )
    page = story.out / "index.html"
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page


def facts(story: Story, seconds: float) -> dict:
    """Everything on the page but the pictures."""
    assert story.score is not None and story.parity is not None
    table, names = story.parity.table, story.cfg.dataset.CLASS_NAMES
    steps = len(next(iter(story.losses.values())))
    held = f"{len(table.judged) - len(table.red)} of {len(table.judged)}"
    return {
        "config": "demo/narrow_rfcn_dcn",
        "seed": story.seed,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "seconds": round(seconds),
        "figures": [
            {
                "name": "mAP@0.5 on held-out scenes",
                "value": f"{story.score.mean:.3f}",
                "verdict": verdict(story.score.mean >= 0.5),
            },
            {
                "name": "boxes equal in both frameworks",
                "value": f"{story.matched} of {story.matched + story.unmatched}",
                "verdict": verdict(story.boxes_agree),
            },
            {"name": "parity rows that hold", "value": held, "verdict": verdict(table.holds)},
            {"name": "mean learnt |offset|, feature px", "value": f"{story.mean_offset_px:.2f}", "verdict": ""},
        ],
        "training": {
            "text": f"{steps} steps of one generated scene each, from random weights, in {story.training_seconds:.0f} s: "
            "MXNet's DeformableConvolution, DeformablePSROIPooling and the original's Python operators, SGD with warm-up. "
            "The forms differ in shape only; colours are random.",
            "plot": data_uri(loss_curves(story.losses)),
        },
        "scoring": {
            "count": 100,
            "names": names,
            "aps": [story.score.ap[index + 1] for index in range(len(names))],
            "mean": story.score.mean,
        },
        "parity": {
            "text": f"{held} judged rows hold: MXNet and PyTorch, each in float32 and float64, on one photograph, forward and gradients.",
            "link": "parity/report.html",
            "rows": [
                {**entry, "name": f"{entry['name']} — {EXPLAINED.get(entry['name'], '')}"}
                for entry in table.summary()
                if entry["count"]
            ],
        },
        "files": [
            {"name": story.checkpoint.name, "what": "the MXNet checkpoint, as the original writes it"},
            {"name": "converted/model.safetensors", "what": "the same weights for PyTorch"},
            {"name": "parity/report.html, parity/parity.json", "what": "every layer, both frameworks"},
            {"name": "pictures/", "what": "the pictures of this page"},
        ],
    }


def verdict(good: bool) -> str:
    return "good" if good else "bad"


def agreement_text(story: Story) -> str:
    return (
        f"{len(story.scenes)} unseen scenes through both detectors, each deciding alone: {story.matched} boxes above a score of "
        f"{SHOWN_SCORE} have a twin of the same class with IoU ≥ 0.999, {story.unmatched} have none; the largest difference of two "
        f"scores is {story.largest_score_difference:.1e}. Drawn: boxes above {DRAWN_SCORE}."
    )


def sampling_text(story: Story) -> str:
    return (
        "Red: the points from which the last deformable convolution reads for one output pixel (green), 9 taps for each of "
        f"{story.cfg.network.NUM_DEFORMABLE_GROUP} groups. Blue rings: the regular grid that it started from. Training moved them by "
        f"{story.mean_offset_px:.2f} feature pixels ({16 * story.mean_offset_px:.0f} image pixels) on average."
    )


def side_by_side(story: Story) -> list[np.ndarray]:
    """MXNet left, PyTorch right."""
    names = ["background", *story.cfg.dataset.CLASS_NAMES]
    return [
        beside(
            *(
                draw_detections(scene.image, story.found[side][index], names, threshold=DRAWN_SCORE, scale=SCALE)
                for side in ("MXNet", "PyTorch")
            ),
            titles=("MXNet, original operators", "PyTorch, converted weights"),
        )
        for index, scene in enumerate(story.scenes[:PICTURED])
    ]


def sampling_pictures(story: Story) -> list[tuple[np.ndarray, str]]:
    """For the best detection of some scenes: where the layer looked from the centre of the object."""
    drawn = []
    for index, scene in enumerate(story.scenes):
        found, offset = story.found["PyTorch"][index], story.offsets[index]
        if len(drawn) == POINTED or not len(found) or found.scores[0] < DRAWN_SCORE:
            continue
        x1, y1, x2, y2 = found.boxes[0]
        row = int(np.clip((y1 + y2) / 32, 0, offset.shape[1] - 1))
        column = int(np.clip((x1 + x2) / 32, 0, offset.shape[2] - 1))
        grid = {"stride": 16, "dilation": DILATION, "padding": DILATION}
        points = deform_conv_points(offset, row, column, **grid)
        regular = deform_conv_points(np.zeros_like(offset), row, column, **grid)
        centre = ((column + 0.5) * 16, (row + 0.5) * 16)
        moved = float(np.linalg.norm(points - regular, axis=1).mean())
        name = story.cfg.dataset.CLASS_NAMES[int(found.classes[0]) - 1]
        picture = draw_points(scene.image, points, regular[:9], centre, scale=SCALE)
        drawn.append((picture, f"a {name}: points moved by {moved:.1f} image pixels on average"))
    pairs = [drawn[i : i + 2] for i in range(0, len(drawn), 2)]
    return [(beside(*(picture for picture, _ in pair)), "; ".join(caption for _, caption in pair)) for pair in pairs]
