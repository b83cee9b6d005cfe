"""Rotation and translation: the same network, start and batches in both frameworks; runs that stop go on."""

import gzip
import struct

import numpy as np
import pytest

from dcn_suite.reproduce import runs
from dcn_suite.reproduce.classification import Cell, Images, cell_of, run_cell
from dcn_suite.reproduce.registry import find_row
from dcn_suite.reproduce.runs import Choice, perform, runs_of
from dcn_tasks.classifier import ClassifierRecipe, ClassifierSpec
from dcn_tasks.data import read_mnist
from dcn_tasks.distortion import Distortion, Normalisation, image_batches
from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws
from tests import tolerances
from torch_port.models.classifier import Classifier
from weights_convert.classifier import classifier_to_mxnet, classifier_to_torch

RECIPE = ClassifierRecipe(
    batch_size=20, epochs=4, lr=0.05, momentum=0.9, weight_decay=1e-4, drops=(0.667,), lr_factor=0.1, warmup_lr=0.02,
    warmup_updates=5,
)  # fmt: skip
KINDS = {"regular": (), "deformable": (1, 2)}


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, 28, 28] of bars that lie (0) or stand (1), at random places."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    images = generator.integers(0, 30, (count, 28, 28), dtype=np.uint8)
    for image, label, place in zip(images, labels, generator.integers(6, 20, (count, 2)), strict=True):
        view = image.T if label else image
        view[place[0] : place[0] + 2, place[1] - 6 : place[1] + 6] = 220
    return images, labels


IMAGES = Images(bars(200, 0), bars(100, 1), "lossless")


def tiny(kind: str) -> Cell:
    return Cell(ClassifierSpec(1, (6, 8, 8), (2, 2, 1), KINDS[kind], 2), RECIPE, Distortion(20, 2), 7)


@pytest.mark.parametrize("kind", KINDS)
def test_network_learns_in_pytorch(kind):
    accuracy, seconds, details = run_cell(tiny(kind), IMAGES, "torch", 0)
    assert accuracy >= 90 and seconds > 0
    assert details["updates"] == 40 and details["last_loss"] < details["first_loss"]


@pytest.mark.mxnet
@pytest.mark.parametrize("kind", KINDS)
def test_both_frameworks_start_alike(kind):
    from mxnet_ref import classifier as in_mxnet
    from torch_port.training.classify import classify, train_classifier

    spec, updates = tiny(kind).spec, 3
    normalisation = Normalisation.of(IMAGES.train[0])
    batches = [
        batch
        for batch, _ in zip(
            image_batches(*IMAGES.train, Distortion(20, 2), normalisation, batch_size=20, seed=4), range(updates), strict=False
        )
    ]  # fmt: skip
    start = spec.initial_arrays(4)
    network, losses = train_classifier(spec, classifier_to_torch(spec, *start), batches, RECIPE, updates=updates)
    arg, aux, theirs = in_mxnet.train_classifier(spec, *start, batches, RECIPE, updates=updates, side=28)
    np.testing.assert_allclose(losses, theirs, rtol=tolerances.FIRST_UPDATES)
    trained, statistics = classifier_to_mxnet(spec, network.state_dict())
    assert set(trained) == set(arg) and set(statistics) == set(aux)
    moved = max(np.abs(arg[name] - start[0][name]).max() for name in arg)
    for name, value in {**arg, **aux}.items():
        np.testing.assert_allclose(
            {**trained, **statistics}[name], value, rtol=0, atol=tolerances.FIRST_UPDATES * moved
        )
    images = normalisation(IMAGES.test[0])
    np.testing.assert_allclose(
        in_mxnet.classify(spec, arg, aux, images), classify(network, images), rtol=0, atol=tolerances.FIRST_UPDATES * 10
    )


@pytest.mark.mxnet
def test_network_learns_in_mxnet():
    accuracy, _, details = run_cell(tiny("deformable"), IMAGES, "mxnet", 0)
    assert accuracy >= 90 and details["last_loss"] < details["first_loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_go_to_pytorch_and_back_bit_for_bit(kind):
    spec = tiny(kind).spec
    arg, aux = spec.initial_arrays(3)
    state = classifier_to_torch(spec, arg, aux)
    Classifier(spec).load_state_dict(state)  # strict: every key on both sides
    back = classifier_to_mxnet(spec, state)
    for sent, got in zip((arg, aux), back, strict=True):
        assert sent.keys() == got.keys()
        assert all(np.array_equal(sent[name], got[name]) for name in sent)


@pytest.mark.parametrize("data", find_row("mnist/regular").setting["networks"])
def test_both_kinds_have_the_same_number_of_parameters_within_one_per_cent(data):
    (column, *_) = (name for name, where in find_row("mnist/regular").setting["columns"].items() if where["data"] == data)  # fmt: skip
    images = IMAGES if data == "mnist" else Images((np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, int)), bars(1, 0), "")  # fmt: skip
    regular, deformable = (cell_of(find_row(f"mnist/{kind}"), column, images) for kind in KINDS)
    assert abs(regular.spec.parameters / deformable.spec.parameters - 1) <= 0.01
    assert (regular.recipe, regular.distortion) == (deformable.recipe, deformable.distortion)
    assert regular.spec.strides == deformable.spec.strides
    assert deformable.spec.deformable and not regular.spec.deformable


def test_distortion_turns_and_shifts_within_its_ranges():
    image = np.zeros((40, 29, 29), np.uint8)
    image[:, 14, 22] = 255  # eight pixels to the right of the centre
    turned = Distortion(degrees=90)(image, Draws(0).generator("x"))
    y, x = np.array([np.unravel_index(each.argmax(), each.shape) for each in turned]).T - 14
    assert np.abs(np.hypot(x, y) - 8).max() <= 1.0 and x.min() >= -1 and y.min() < -5 and y.max() > 5
    shifted = Distortion(pixels=3)(image, Draws(0).generator("x"))
    y, x = np.array([np.unravel_index(each.argmax(), each.shape) for each in shifted]).T - np.array([[14], [22]])
    assert max(np.abs(x).max(), np.abs(y).max()) == 3 and len(set(zip(x, y, strict=True))) > 15


def test_no_distortion_leaves_every_pixel():
    assert Distortion()(IMAGES.test[0], Draws(0).generator("x")) is IMAGES.test[0]


def test_batches_depend_on_seed_and_epoch_alone():
    def first(seed, count):
        batches = image_batches(*IMAGES.train, Distortion(30, 2), Normalisation.of(IMAGES.train[0]), batch_size=100, seed=seed)  # fmt: skip
        return [batch for batch, _ in zip(batches, range(count), strict=False)]

    for (images, labels), (again, same) in zip(first(1, 4), first(1, 4), strict=True):
        assert np.array_equal(images, again) and np.array_equal(labels, same)
    assert sorted(np.concatenate([labels for _, labels in first(1, 2)])) == sorted(IMAGES.train[1])
    assert not np.array_equal(first(1, 1)[0][0], first(2, 1)[0][0])
    assert not np.array_equal(first(1, 1)[0][0], first(1, 3)[2][0])


def test_normalised_training_images_have_mean_0_and_deviation_1():
    values = Normalisation.of(IMAGES.train[0])(IMAGES.train[0])
    assert values.shape == (200, 1, 28, 28) and values.dtype == np.float32
    assert abs(values.mean()) < tolerances.NORMALISED and abs(values.std() - 1) < tolerances.NORMALISED


def write_mnist(folder) -> None:
    for name, (images, labels) in {"train": bars(100, 0), "t10k": bars(30, 1)}.items():
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(folder / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.tobytes())


@pytest.fixture
def choice(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_mnist(folder)
    assert len(read_mnist(folder, "test")[0]) == 30
    return Choice(("torch",), (0, 1), ("mnist", "rotated"), data=folder, results=tmp_path / "results")


def test_run_that_was_interrupted_goes_on_with_what_is_missing(choice, monkeypatch):
    todo, real, done = runs_of(find_row("mnist/regular"), choice), runs.MEASURES["classification"], []

    def breaks_at_the_third(run, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(run)
        return real(run, *rest)

    monkeypatch.setitem(runs.MEASURES, "classification", breaks_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        list(perform(todo, choice, print))
    stored = {path: path.read_bytes() for path in choice.results.rglob("*.json")}
    assert len(stored) == 2
    monkeypatch.setitem(runs.MEASURES, "classification", real)
    assert list(perform(todo, choice, print)) == todo[2:]
    assert all(path.read_bytes() == before for path, before in stored.items())
    assert list(perform(todo, choice, print)) == []


def test_unknown_column_is_refused(choice):
    with pytest.raises(InputError, match=r"--columns: expected of mnist, rotated, .+ got 'turned'"):
        runs_of(find_row("mnist/regular"), Choice(columns=("turned",)))
