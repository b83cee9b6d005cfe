"""Whether inputs fit a converted module, in words, before anything is compared."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import fx

from dcn_suite.parity.graph_outputs import as_tensor
from dcn_tasks.errors import InputError
from weights_convert.translate.module import NODE, input_names
from weights_convert.translate.registry import operator_of


def check_runs(module: fx.GraphModule, inputs: Mapping[str, np.ndarray]) -> None:
    """Runs the module once. inputs: by MXNet's name; names that are not in the graph are refused, absent labels are not.

    Raises: InputError naming the input, or the node that can't take what reaches it.
    """
    names = input_names(module)
    unknown = [name for name in inputs if name not in names]
    if unknown:
        raise InputError(f"input {unknown[0]!r}: the graph has no such variable; its inputs are {', '.join(names)}")
    placeholders = [each for each in module.graph.nodes if each.op == "placeholder"]
    argument_of = {argument: name for name, argument in names.items()}
    for each in placeholders:
        name = argument_of[str(each.target)]
        if name not in inputs and each.args != (None,):
            raise InputError(
                f"input {name!r}: the graph needs it and it was not given; say --input {name}=SIDE,SIDE,..."
            )
    given = [inputs.get(argument_of[str(each.target)]) for each in placeholders]
    with torch.no_grad():
        Namer(module).run(*[None if value is None else as_tensor(value, "float32") for value in given])


class Namer(fx.Interpreter):
    """Runs a module; an error says at which MXNet node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # it would write fx's own words into the message

    def run_node(self, n: fx.Node) -> object:
        try:
            return super().run_node(n)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, InputError) or NODE not in n.meta:
                raise
            found = operator_of(n.target, n.name)
            values, _ = self.fetch_args_kwargs_from_env(n)
            shapes = [
                f"{found.input_name(place)} {list(value.shape)}"
                for place, value in enumerate(values)
                if isinstance(value, torch.Tensor)
            ]
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"node {n.meta[NODE].name!r} ({n.meta[NODE].op}) can't take {', '.join(shapes)}: {reason}; "
                "give inputs of the sizes that this graph was made for"
            ) from None
