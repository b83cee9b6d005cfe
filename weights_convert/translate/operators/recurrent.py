"""The fused recurrent layers."""

import torch
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "gru": 3, "lstm": 4}


def rnn_weights(
    flat: Tensor, mode: str, inputs: int, hidden: int, layers: int, directions: int, projected: int | None
) -> list[Tensor]:
    """MXNet's flat vector (all matrices layer by layer, direction by direction, then all biases) in PyTorch's order."""
    rows, state = GATES[mode] * hidden, projected or hidden
    places = [(layer, direction) for layer in range(layers) for direction in range(directions)]
    found: list[list[Tensor]] = [[] for _ in places]
    position = 0
    for place, (layer, _) in enumerate(places):
        width = inputs if layer == 0 else state * directions
        for shape in ((rows, width), (rows, state)) + (((projected, hidden),) if projected else ()):
            size = shape[0] * shape[1]
            found[place].append(flat[position : position + size].view(shape))
            position += size
    for place in range(len(places)):
        found[place][2:2] = [flat[position : position + rows], flat[position + rows : position + 2 * rows]]
        position += 2 * rows
    return [each for group in found for each in group]


@operator("RNN", outputs=lambda a: (3 if a["mode"] == "lstm" else 2) if a["state_outputs"] else 1)
def rnn(
    data: Tensor,
    parameters: Tensor,
    state: Tensor,
    state_cell: Tensor | None = None,
    *,
    state_size: int,
    num_layers: int,
    mode: str,
    bidirectional: bool = False,
    p: Single = 0.0,
    state_outputs: bool = False,
    projection_size: int | None = None,
    use_sequence_length: bool = False,
    lstm_state_clip_min: float | None = None,
    lstm_state_clip_max: float | None = None,
    lstm_state_clip_nan: bool = False,
    training: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """rnn_relu, rnn_tanh, gru or lstm over [T, N, C]; one flat parameter vector; states [layers * directions, N, H]."""
    if use_sequence_length or lstm_state_clip_min is not None or lstm_state_clip_max is not None:
        raise ValueError("RNN: use_sequence_length and state clipping have no translation")
    directions = 2 if bidirectional else 1
    weights = rnn_weights(parameters, mode, data.shape[2], state_size, num_layers, directions, projection_size)
    hidden = state.expand(-1, data.shape[1], -1).contiguous()
    common = (weights, True, num_layers, p, training, bidirectional, False)
    if mode == "lstm":
        cell = state_cell.expand(-1, data.shape[1], -1).contiguous()
        results = torch.lstm(data, (hidden, cell), *common)
    else:
        run = {"gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[mode]
        results = run(data, hidden, *common)
    return tuple(results) if state_outputs else results[0]
