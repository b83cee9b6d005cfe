"""A test graph whose weights are scaled until its outputs have the wanted spread."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mxnet as mx
import numpy as np

from dcn_tasks.config import Config
from dcn_tasks.network import NetworkSpec
from mxnet_ref.backbone import backbone_of
from mxnet_ref.build import build_symbol
from mxnet_ref.executor import Arrays, first_outputs, outputs_of


@dataclass
class Graph:
    """A graph, its inputs, and the parameters to be scaled in place.

    cfg: the network's configuration, at the size of the inputs. arg, aux: parameters and states by name, float32.
    """

    cfg: Config
    symbol: mx.sym.Symbol
    arg: Arrays
    aux: Arrays
    inputs: Arrays

    @property
    def spec(self) -> NetworkSpec:
        return NetworkSpec.from_config(self.cfg)

    def read(self, names: Sequence[str], *, is_train: bool = False) -> Arrays:
        """Outputs of nodes, by name."""
        return outputs_of(self.symbol, names, self.arg, self.aux, self.inputs, is_train=is_train)

    def scale(
        self, wanted: Mapping[str, float], *, layers: Mapping[str, str] | None = None, is_train: bool = False
    ) -> None:
        """Scale weights so that the named outputs get the wanted std.

        Args: layers: the layer whose weight is scaled, by output; None: the outputs' own.
        """
        found = self.read(list(wanted), is_train=is_train)
        for name, std in wanted.items():
            self.arg[f"{(layers or {}).get(name, name)}_weight"] *= np.float32(std / found[name].std())

    def scale_shared(self, names: Sequence[str], layer: str, std: float) -> None:
        """Scale the one weight behind several outputs so that all of them together get the wanted std."""
        found = self.read(names)
        values = np.concatenate([value.ravel() for value in found.values()])
        self.arg[f"{layer}_weight"] *= np.float32(std / values.std())

    def spread(self, layer: str, std: float, *, node: str | None = None) -> None:
        """Outputs of a layer to mean 0 each, so that none is everywhere the largest, and `std` over RoIs and outputs.

        Args: node: where they are read; None: the layer itself. One output may have several biases, one per bin.
        """
        values = self.read([node or layer])[node or layer]
        values = values.reshape(-1, values.shape[-1])
        mean = values.mean(axis=0)
        factor = std / (values - mean).std()
        self.arg[f"{layer}_weight"] *= np.float32(factor)
        of_bins = self.arg[f"{layer}_bias"].reshape(len(mean), -1)  # [outputs, bins], a view
        of_bins[:] = factor * (of_bins - mean[:, None])

    def behind_backbone(self) -> "Graph":
        """The part behind the backbone, whose maps are inputs: what is scaled there moves none of them."""
        return self.behind([each.name for each in backbone_of(mx.sym.Variable("data"), self.spec)])

    def behind(self, names: Sequence[str]) -> "Graph":
        """The part behind the nodes of these names, whose first outputs are inputs: computed once, here."""
        return self.given(self.read(names))

    def given(self, maps: Arrays) -> "Graph":
        """The part behind the nodes of these names, whose first outputs are these."""
        return Graph(self.cfg, cut(self.symbol, list(maps)), self.arg, self.aux, {**self.inputs, **maps})

    def up_to_waist(self, layer: str, wanted: Sequence[str]) -> list[str]:
        """The nodes up to the last one before a layer on which, and on parameters, all later ones rest; [] where none is.

        Args: wanted: the nodes that matter; what leads to none of them is left out.
        """
        nodes = json.loads(first_outputs(self.symbol, wanted).tojson())["nodes"]
        last_reader = {source: place for place, node in enumerate(nodes) for source, *_ in node["inputs"]}
        names, waist, furthest = [], 0, 0
        for place, node in enumerate(nodes):
            if node["name"] == layer:
                break
            if node["op"] == "null":
                continue
            names.append(node["name"])
            if furthest <= place:
                waist = len(names)
            furthest = max(furthest, last_reader.get(place, 0))
        return names[:waist]

    def source_of(self, layer: str) -> str:
        """The node that a layer reads."""
        nodes = json.loads(self.symbol.tojson())["nodes"]
        (place, *_), *_ = next(node["inputs"] for node in nodes if node["name"] == layer)
        return nodes[place]["name"]


def graph_of(cfg: Config, arg: Arrays, aux: Arrays, inputs: Arrays, **overrides) -> Graph:
    """A configuration's test graph. overrides: GROUP__KEY of the configuration."""
    return Graph(cfg, build_symbol(cfg, False, **overrides), arg, aux, inputs)


def cut(symbol: mx.sym.Symbol, names: Sequence[str]) -> mx.sym.Symbol:
    """The graph with inputs of these names in the place of the nodes."""
    content = json.loads(symbol.tojson())
    for index, node in enumerate(content["nodes"]):
        if node["name"] in names:
            content["nodes"][index] = {"op": "null", "name": node["name"], "inputs": []}
    content["arg_nodes"] = [index for index, node in enumerate(content["nodes"]) if node["op"] == "null"]
    return mx.sym.load_json(json.dumps(content))
