"""Graphs of every age come to one form; damaged ones are named."""

import json

import pytest

from dcn_tasks.errors import InputError
from weights_convert import load_symbol


def document(key: str, version: int | None, triple: bool = True, aux: bool = True) -> dict:
    """data, gamma, beta(, mean, var) -> BatchNorm, its attributes under `key`."""
    names = ["data", "bn_gamma", "bn_beta"] + (["bn_moving_mean", "bn_moving_var"] if aux else [])
    nodes = [{"op": "null", "name": name, "inputs": []} for name in names]
    ends = [[place, 0] + ([int(place > 2)] if triple else []) for place in range(len(names))]
    nodes.append({"op": "BatchNorm", "name": "bn", key: {"eps": "1e-05", "lr_mult": "2"}, "inputs": ends})
    nodes.append({"op": "Activation", "name": "relu", "inputs": [[len(names), 0, 0][: 3 if triple else 2]]})
    top = {"nodes": nodes, "arg_nodes": [], "heads": [[len(names) + 1, 0, 0]]}
    return top | ({"attrs": {"mxnet_version": ["int", version]}} if version else {})


@pytest.fixture
def written(tmp_path):
    def write(content) -> object:
        path = tmp_path / "a-symbol.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    ("key", "version", "triple", "aux"),
    [
        ("param", None, False, False),
        ("attr", 904, True, True),
        ("attrs", 10901, True, True),
        ("attrs", 20000, True, True),
    ],
)
def test_every_age_reads_as_the_same_graph(written, key, version, triple, aux):
    graph = load_symbol(written(document(key, version, triple, aux)))
    assert graph.version == (version or 800)
    assert graph.variables(aux=False) == ["data", "bn_gamma", "bn_beta"]
    assert graph.variables(aux=True) == ["bn_moving_mean", "bn_moving_var"]
    node = next(node for node in graph.nodes if node.op == "BatchNorm")
    assert node.attrs == {"eps": "1e-05", "__lr_mult__": "2"}
    assert [graph.nodes[entry.node].name for entry in node.inputs] == [
        "data", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var",
    ]  # fmt: skip
    assert graph.nodes[graph.heads[0].node].name == "relu"
    assert graph.op_counts() == {"BatchNorm": 1, "Activation": 1}


def test_user_attributes_beside_parameters_are_merged(written):
    content = document("param", None, False, False)
    content["nodes"][3]["attr"] = {"ctx_group": "dev1"}
    node = next(node for node in load_symbol(written(content)).nodes if node.op == "BatchNorm")
    assert node.attrs == {"eps": "1e-05", "__lr_mult__": "2", "__ctx_group__": "dev1"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ({"edges": []}, "nodes"),
        ({"nodes": [{"op": 1, "name": "a"}]}, "node 0"),
        ({"nodes": [{"op": "null", "name": "a", "inputs": [[5, 0, 0]]}]}, "past the nodes"),
        ({"nodes": [{"op": "null", "name": "a", "inputs": [["x", 0]]}]}, "expected [node, output, version]"),
        ({"nodes": [{"op": "null", "name": "a", "attrs": {"k": 1}}]}, "no table of texts"),
        ({"nodes": [], "heads": [[0, 0, 0]]}, "heads"),
        ({"nodes": [], "attrs": {"mxnet_version": "1"}}, "mxnet_version"),
    ],
)
def test_damaged_graph_is_refused(written, content, words):
    path = written(content)
    with pytest.raises(InputError) as caught:
        load_symbol(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_symbol_given_for_parameters_says_so(written):
    from weights_convert import load_params

    with pytest.raises(InputError, match="JSON"):
        load_params(written(document("attrs", 10901)))


@pytest.mark.mxnet
def test_public_graphs_have_the_variables_mxnet_lists(checkpoints_folder):
    mx = pytest.importorskip("mxnet")
    compared = 0
    for path in sorted(checkpoints_folder.rglob("*symbol.json")):
        graph = load_symbol(path)
        try:
            live = mx.sym.load(str(path))
        except mx.base.MXNetError as error:
            assert "is not registered" in str(error), path  # operators of plugins
            continue
        assert sorted(graph.variables(aux=False)) == sorted(live.list_arguments()), path
        assert sorted(graph.variables(aux=True)) == sorted(live.list_auxiliary_states()), path
        assert len(graph.heads) == len(live.list_outputs()), path
        compared += 1
    assert compared >= 25
