"""Pictures show what they say, and are written whole or not at all."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dcn_suite.pictures import beside, class_colour, data_uri, draw_detections, draw_points, save_png
from dcn_suite.plots import loss_curves, smoothed
from dcn_tasks.detections import Detections


@pytest.fixture
def grey():
    return np.full((60, 80, 3), 128, np.uint8)


def found(score):
    return Detections(np.array([[20.0, 25.0, 50.0, 45.0]]), np.array([score]), np.array([1]))


def test_a_detection_is_a_box_in_its_class_colour(grey):
    picture = draw_detections(grey, found(0.9), ["background", "star"], threshold=0.5)
    assert tuple(picture[45, 40]) == class_colour(1)
    assert tuple(picture[35, 35]) == (128, 128, 128)
    assert (grey == 128).all(), "the image handed in is not drawn on"


def test_a_detection_below_the_threshold_is_not_drawn(grey):
    assert (draw_detections(grey, found(0.4), ["background", "star"], threshold=0.5) == grey).all()


def test_points_are_drawn_where_they_are(grey):
    picture = draw_points(grey, np.array([[30.0, 20.0]]), np.zeros((0, 2)), (60.0, 50.0), scale=2)
    assert picture.shape == (120, 160, 3)
    assert tuple(picture[40, 60]) == (230, 60, 50)
    assert tuple(picture[100, 120]) == (30, 200, 90)


def test_pictures_stand_side_by_side_under_their_titles(grey):
    assert beside(grey, grey, titles=("a", "b"), gap=8).shape == (60 + 22, 80 + 8 + 80, 3)


def test_a_png_reads_back_bit_for_bit(tmp_path, grey):
    save_png(tmp_path / "a" / "x.png", grey)
    assert (np.asarray(Image.open(tmp_path / "a" / "x.png")) == grey).all()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.png"]


def test_a_failed_write_leaves_nothing(tmp_path, grey, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_png(tmp_path / "x.png", grey)
    assert not list(tmp_path.iterdir())


def test_data_uri_holds_the_picture(grey):
    kind, _, data = data_uri(grey).partition(",")
    assert kind == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == grey).all()


def test_smoothing_is_the_mean_of_the_last_values():
    assert smoothed([4, 2, 6, 0], 2).tolist() == [4, 3, 4, 3]


def test_loss_curves_are_a_picture():
    picture = loss_curves({"RPNLogLoss": list(np.linspace(1, 0.1, 200)), "RCNNLogLoss": list(np.linspace(2, 0.5, 200))})
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.std() > 5
