"""The folded copy is the same function, and the network it was made from is left alone."""

import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.errors import InputError
from torch_port.layers import Add, BatchNorm
from torch_port.models.fold import fold_batch_norm


def randomise_statistics(network):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)


def test_folded_network_is_the_same_function_without_normalisation(narrow):
    randomise_statistics(narrow)
    data, im_info = torch.randn(1, 3, 96, 96).double(), torch.tensor([[96.0, 96, 1]])
    folded = fold_batch_norm(narrow)
    assert not any(isinstance(module, BatchNorm) for module in folded.modules())
    with torch.inference_mode():
        for found, expected in zip(folded.backbone(data), narrow.backbone(data), strict=True):
            torch.testing.assert_close(
                found, expected, rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION * expected.abs().max().item()
            )
        assert folded(data, im_info)[0].shape == narrow(data, im_info)[0].shape


def test_folded_networks_sum_in_place_and_give_the_same_twice(narrow):
    """The second run reads every map again: a sum written over a map that somebody still needs would show."""
    randomise_statistics(narrow)
    data = torch.randn(1, 3, 96, 96).double()
    folded = fold_batch_norm(narrow)
    assert all(module.inplace for module in folded.modules() if isinstance(module, Add))
    assert not any(module.inplace for module in narrow.modules() if isinstance(module, Add))
    with torch.inference_mode():
        for first, second in zip(folded.backbone(data), folded.backbone(data), strict=True):
            assert torch.equal(first, second)


def test_the_network_itself_is_unchanged(narrow):
    randomise_statistics(narrow)
    before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    fold_batch_norm(narrow)
    after = narrow.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert narrow.training and not narrow.backbone.stem.relu.inplace


def test_a_normalisation_without_a_convolution_is_named():
    with pytest.raises(InputError, match="found none before 0"):
        fold_batch_norm(torch.nn.Sequential(BatchNorm(3)))
