"""A small made-up network with two like blocks, BatchNorm, a shared weight and a loss head, without any file."""

import json

import numpy as np

from weights_convert import Graph, Params, parse_symbol


class Builder:
    def __init__(self):
        self.nodes: list[dict] = []

    def variable(self, name: str) -> int:
        self.nodes.append({"op": "null", "name": name, "inputs": []})
        return len(self.nodes) - 1

    def call(self, op: str, name: str, *inputs: int, aux: int = 0, **attrs: object) -> int:
        ends = [[each, 0, int(place >= len(inputs) - aux)] for place, each in enumerate(inputs)]
        texts = {key: str(value) for key, value in attrs.items()}
        self.nodes.append({"op": op, "name": name, "attrs": texts, "inputs": ends})
        return len(self.nodes) - 1

    def unit(self, scope: str, data: int, channels: int) -> int:
        conv = self.call("Convolution", f"{scope}_conv", data, self.variable(f"{scope}_conv_weight"), kernel="(3, 3)",
                         num_filter=channels, pad="(1, 1)", no_bias=True)  # fmt: skip
        states = [self.variable(f"{scope}_bn_{each}") for each in ("gamma", "beta", "moving_mean", "moving_var")]
        bn = self.call("BatchNorm", f"{scope}_bn", conv, *states, aux=2, fix_gamma=False, eps="2e-05")
        relu = self.call("Activation", f"{scope}_relu", bn, act_type="relu")
        return self.call("elemwise_add", f"{scope}_sum", relu, data)


def small_text() -> str:
    net = Builder()
    data = net.call("_mul_scalar", "scaled", net.variable("data"), scalar=0.5)
    first = net.unit("stage1_unit1", data, 4)
    second = net.unit("stage1_unit2", first, 4)
    slope = net.call("LeakyReLU", "leaky", second, act_type="leaky", slope=0.1)
    pool = net.call("Pooling", "pool", slope, global_pool=True, pool_type="avg", kernel="(1, 1)")
    weight, bias = net.variable("fc_weight"), net.variable("fc_bias")
    one = net.call("FullyConnected", "fc", pool, weight, bias, num_hidden=4)
    two = net.call("FullyConnected", "fc_again", one, weight, bias, num_hidden=4)
    head = net.call("SoftmaxOutput", "softmax", two, net.variable("softmax_label"))
    arguments = [place for place, node in enumerate(net.nodes) if node["op"] == "null"]
    heads = [[head, 0, 0], [pool, 0, 0]]
    return json.dumps(
        {"nodes": net.nodes, "arg_nodes": arguments, "heads": heads, "attrs": {"mxnet_version": ["int", 10901]}}
    )


def small_graph() -> Graph:
    return parse_symbol(small_text())


def small_params(seed: int = 0) -> Params:
    rng = np.random.default_rng(seed)
    arg = {"fc_weight": rng.standard_normal((4, 4)), "fc_bias": rng.standard_normal(4)}
    aux = {}
    for unit in ("stage1_unit1", "stage1_unit2"):
        arg[f"{unit}_conv_weight"] = rng.standard_normal((4, 4, 3, 3)) / 6
        arg |= {f"{unit}_bn_{each}": rng.uniform(0.5, 1.5, 4) for each in ("gamma", "beta")}
        aux |= {f"{unit}_bn_{each}": rng.uniform(0.5, 1.5, 4) for each in ("moving_mean", "moving_var")}
    single = ({name: value.astype(np.float32) for name, value in group.items()} for group in (arg, aux))
    return Params(*single)
