"""Real models of 2015 to 2020 give in PyTorch what MXNet recorded, and layer by layer what MXNet computes now."""

import numpy as np
import pytest
import torch

from tests.convert_any.emitted import emitted_model
from tests.convert_any.recorded import RECORDED, checkpoint
from tests.tolerances import RECORDED_FLOAT32, RECORDED_RNN_TANH
from weights_convert import Params, convert, parse_symbol
from weights_convert.arrays import Sparse
from weights_convert.translate import input_names
from weights_convert.translate.back import to_symbol
from weights_convert.translate.precision import in_float64

RANDOM = {"sagemaker_ntm": (1,)}  # three of its four outputs are drawn at random; these are not


AMPLIFIES = (
    "jg_fused_rnn"  # a rounding of its first step grows by thousands until the last: float32 tells the processor
)


def float64_module(given):
    groups = given.params.arg, given.params.aux
    arg, aux = ({key: dense(value).astype(np.float64) for key, value in group.items()} for group in groups)
    return convert(parse_symbol(in_float64(given.symbol.read_text())), Params(arg, aux), inputs=given.inputs)


def outputs_of(module, inputs):
    names = input_names(module)
    with torch.no_grad():
        found = module(**{names[key]: torch.from_numpy(value) for key, value in inputs.items() if key in names})
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("name", RECORDED)
def test_converted_module_gives_the_recorded_outputs(checkpoints_folder, name):
    given = checkpoint(checkpoints_folder / name)
    if name == AMPLIFIES:
        found = outputs_of(
            float64_module(given), {key: value.astype(np.float64) for key, value in given.inputs.items()}
        )
    else:
        found = outputs_of(convert(given.symbol, given.params, inputs=given.inputs), given.inputs)
    assert [tuple(each.shape) for each in found] == [each.shape for each in given.outputs]
    tolerance = RECORDED_RNN_TANH if name == AMPLIFIES else RECORDED_FLOAT32
    for place, (ours, theirs) in enumerate(zip(found, given.outputs, strict=True)):
        if place in RANDOM.get(name, (place,)):
            error = np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()
            assert error <= tolerance, f"output {place}: {error}"


@pytest.mark.parametrize("name", RECORDED)
def test_source_of_a_real_model_gives_its_numbers(checkpoints_folder, tmp_path, name):
    given = checkpoint(checkpoints_folder / name)
    module = convert(given.symbol, given.params, inputs=given.inputs)
    emitted = emitted_model(module, tmp_path)
    torch.manual_seed(0)  # one of them draws
    expected = outputs_of(module, given.inputs)
    torch.manual_seed(0)
    names = input_names(module)
    with torch.no_grad():
        found = emitted(**{names[key]: torch.from_numpy(value) for key, value in given.inputs.items() if key in names})
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.mxnet
@pytest.mark.parametrize("name", [each for each in RECORDED if each not in RANDOM])
def test_real_model_goes_back_to_mxnet(checkpoints_folder, name):
    from mxnet_ref.any_graph import head_outputs

    given = checkpoint(checkpoints_folder / name)
    text, params = to_symbol(convert(given.symbol, given.params, inputs=given.inputs))
    found = head_outputs(text, params.arg, params.aux, given.inputs)
    for ours, theirs in zip(found, given.outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=RECORDED_FLOAT32 * np.abs(theirs).max())


def test_all_recorded_checkpoints_are_tried(checkpoints_folder):
    assert {each.parent.name for each in checkpoints_folder.glob("*/io.npz")} == set(RECORDED)


QUICK = (
    "mtcnn_det1",
    "mtcnn_det2",
    "retinaface_mnet_16",
    "synthetic_ops_misc",
    "synthetic_ops_deform",
    "cifar_resnet20_v2",
    "jg_fused_gru",
)


@pytest.mark.mxnet
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in RECORDED],
)
def test_every_layer_holds_against_mxnet(checkpoints_folder, name):
    from dcn_suite.parity.any_graph import live

    given = checkpoint(checkpoints_folder / name)
    arg, aux = ({key: dense(value) for key, value in group.items()} for group in (given.params.arg, given.params.aux))
    text = given.symbol.read_text()
    module = convert(given.symbol, Params(dict(arg), dict(aux)), inputs=given.inputs)
    module64 = convert(parse_symbol(in_float64(text)), Params(dict(arg), dict(aux)), inputs=given.inputs)
    table, _ = live(module, text, arg, aux, given.inputs, module64=module64)
    assert table.holds, "\n".join(
        f"{row.operator} {row.what}: {row.claim} {row.got} > {row.tolerance} {row.note}" for row in table.red
    )


def dense(array):
    return array.to_dense() if isinstance(array, Sparse) else np.asarray(array)


def test_graph_with_foreign_operators_lists_all_of_them(checkpoints_folder):
    from dcn_tasks.errors import InputError

    folder = checkpoints_folder / "bmxnet_mnist"
    with pytest.raises(InputError) as caught:
        convert(folder / "model-symbol.json", folder / "model-0001.params")
    message = str(caught.value)
    for operator in ("QActivation", "QConvolution", "QFullyConnected", "register a translation"):
        assert operator in message


def test_unconvertible_part_of_a_graph_is_named(checkpoints_folder):
    from dcn_tasks.errors import InputError

    folder = checkpoints_folder / "ocr_lstm_warpctc"
    with pytest.raises(InputError, match="WarpCTC"):
        convert(folder / "model-symbol.json", folder / "model-0080.params")
