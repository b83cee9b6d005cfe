"""A converted module as readable Python: nested blocks, the operators they use, nothing but PyTorch (and torch_port) needed."""

import inspect
import keyword
import math
import operator as python_operator
import re
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch import fx, nn

from weights_convert.translate.attributes import Single
from weights_convert.translate.blocks import Block, blocks, name_of
from weights_convert.translate.module import mxnet_names
from weights_convert.translate.registry import operator_of

OWN = "weights_convert.translate.operators"
# A parameter whose default was written in decimals and counts as the nearest float32.
SINGLE_DEFAULT = re.compile(r"((\w+): (?:Single|tuple\[Single, \.\.\.\]) = )(\([^()]*\)|-?[\d.e-]+)")
IMPLIED = ("num_filter", "num_hidden")  # the weight's shape says it
# Names that generated blocks must leave alone: what every module has, and what the file itself uses.
ATTRIBUTES_IN_USE = frozenset({*dir(nn.Module()), "load", "parameter", "buffer"})
NAMES_IN_USE = frozenset({"self", "json", "math", "torch", "nn", "ops", "F", "Any", "Path", "Tensor", "NAMES"})
HEAD = '''"""{title}

Written by dcn-port from an MXNet graph. Weights: `Model().load("model.safetensors")`, under MXNet's names.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
{imports}

'''
LOADER = '''
def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file: 8 bytes of length, a JSON header, the data."""
    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
             "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
    data = bytearray(Path(path).read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size].decode())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        kind = types[entry["dtype"]]
        flat = torch.frombuffer(data[begin:end], dtype=kind) if end > begin else torch.empty(0, dtype=kind)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


class Block(nn.Module):
    """A module whose parameters and buffers get their values, and so their shapes, from the weights' file."""

    def parameter(self, name: str) -> None:
        self.register_parameter(name, nn.Parameter(torch.empty(0)))

    def buffer(self, name: str) -> None:
        self.register_buffer(name, torch.empty(0))

'''
LOAD = '''
    def load(self, path: str | Path) -> "Model":
        """Takes the weights of a .safetensors file. A tensor's MXNet name is its path here with `_` for dots, or stands in NAMES."""
        tensors = read_safetensors(path)
        for prefix, block in self.named_modules():
            for own in [*block._parameters, *block._buffers]:
                place = f"{prefix}.{own}" if prefix else own
                value = tensors[NAMES.get(place, place.replace(".", "_"))]
                if own in block._parameters:
                    block._parameters[own] = nn.Parameter(value)
                else:
                    block._buffers[own] = value
        return self.eval()
'''


def to_source(module: fx.GraphModule, title: str = "A converted network.") -> str:
    """The text of model.py: operators, one class for each kind of block, and `Model` with `load(path)`.

    Args: module: made by `convert`. Raises: InputError naming the first call that is no registered operator.
    """
    return SourceWriter(module).text(title)


def identifier(text: str, taken: set[str]) -> str:
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    name = f"_{name.lstrip('_')}" if name.startswith("__") else name  # a class would change it
    name = f"_{name}" if not name or name[0].isdigit() else name
    while name in taken or keyword.iskeyword(name):
        name += "_"
    return name


class SourceWriter:
    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.functions: dict[str, Callable] = {}
        self.classes: dict[str, str] = {}  # body -> name
        self.texts: list[str] = []
        self.names: dict[str, str] = {}  # path in the source -> MXNet's name, where the rule does not give it
        self.parameters = {name for name, _ in module.named_parameters()}
        self.mxnet = {path: name for name, path in mxnet_names(module).items()}
        calls = [each for each in module.graph.nodes if each.op == "call_function"]
        self.tree = blocks([each for each in calls if each.target is not python_operator.getitem])
        self.home = self.homes()
        called = {each.target.__name__ for each in calls if hasattr(each.target, "__name__")}
        self.locals_in_use = NAMES_IN_USE | called

    def homes(self) -> dict[str, int]:
        """Parameter -> id of the innermost block that has all its uses (the whole graph's is the outermost)."""
        chains: dict[str, list[tuple[int, ...]]] = {}

        def visit(block: Block, outer: tuple[int, ...]) -> None:
            chain = (*outer, id(block))
            for item in block.items:
                if isinstance(item, Block):
                    visit(item, chain)
                    continue
                for source in item.all_input_nodes:
                    if source.op == "get_attr" and source.target != "training":
                        chains.setdefault(str(source.target), []).append(chain)

        visit(self.tree, ())
        found = {}
        for target, each in chains.items():
            common = 0
            while all(len(chain) > common and chain[common] == each[0][common] for chain in each):
                common += 1
            found[target] = each[0][common - 1]
        return found

    def text(self, title: str) -> str:
        self.write_class(self.tree, "Model", (), (), top=True)
        own, imports = self.operator_sources()
        names = "\n".join(f"    {path!r}: {name!r}," for path, name in self.names.items())
        table = f"NAMES: dict[str, str] = {{\n{names}\n}}\n" if names else "NAMES: dict[str, str] = {}\n"
        safe = title.replace("\\", "/").replace('"', "'")
        head = HEAD.format(title=safe, imports="\n".join(imports))
        parts = [head.rstrip(), *own, LOADER.strip(), *self.texts[:-1], table.strip(), self.texts[-1] + LOAD.rstrip()]
        return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"

    # Blocks

    def write_class(
        self, block: Block, name: str, scopes: tuple[str, ...], path: tuple[str, ...], top: bool = False
    ) -> tuple[str, list, list]:
        """Writes a block's class, once for all blocks alike. Returns: its name, values that go in, values that come out.

        scopes: what MXNet's names in it begin with. path: the attributes that lead to it; a scope that comes twice has two.
        """
        inside = set(block.calls())
        comes_in: list[fx.Node] = [each for each in self.module.graph.nodes if each.op == "placeholder"] if top else []
        goes_out = [each for each in block.calls() if top or any(user not in inside for user in self.users(each))]
        local: dict[fx.Node, str] = {}
        taken = set(self.locals_in_use)
        owned: dict[str | int, str] = {}  # parameter's target or id of a block -> attribute
        made, lines = [], []
        prefix = "_".join(scopes) + "_" if scopes else ""
        for each in comes_in:
            local[each] = identifier(str(each.target), taken)
            taken.add(local[each])

        def value(node: fx.Node) -> str:
            if node.op == "get_attr" and node.target == "training":
                return "self.training"
            if node.op == "get_attr" and self.home[str(node.target)] == id(block):
                return self.own_parameter(node, prefix, path, made, owned)
            if node.op == "call_function" and node.target is python_operator.getitem:
                return f"{value(node.args[0])}[{node.args[1]}]"
            if node not in local:
                comes_in.append(node)
                local[node] = identifier("x" if len(comes_in) == 1 else f"x{len(comes_in)}", taken)
                taken.add(local[node])
            return local[node]

        for item in block.items:
            if isinstance(item, Block):
                attribute = owned[id(item)] = identifier(item.scope, {*owned.values(), *ATTRIBUTES_IN_USE})
                inner = (*scopes, item.scope), (*path, attribute)
                cls, needs, gives = self.write_class(item, class_name(item.scope), *inner)
                made.append(f"self.{attribute} = {cls}()")
                arguments = ", ".join(value(each) for each in needs)
                for each in gives:
                    local[each] = identifier(short(name_of(each), prefix), taken)
                    taken.add(local[each])
                lines.append(f"{', '.join(local[each] for each in gives)} = self.{attribute}({arguments})")
            else:
                call = self.call(item, value)
                local[item] = identifier(short(name_of(item), prefix), taken)
                taken.add(local[item])
                lines.append(f"{local[item]} = {call}")
        if top:
            results = next(each for each in self.module.graph.nodes if each.op == "output").args[0]
            ends = results if isinstance(results, tuple) else (results,)
            lines.append("return " + ", ".join(value(each) for each in ends))
        else:
            lines.append("return " + ", ".join(local[each] for each in goes_out))
        body = class_body(made, [argument(each, local[each], top) for each in comes_in], lines)
        return self.named_class(body, name, top), comes_in, goes_out

    def users(self, node: fx.Node) -> list[fx.Node]:
        """Who reads a call, through the picking of one of its outputs; the graph's output is one of them."""
        found = []
        for each in node.users:
            found += self.users(each) if each.target is python_operator.getitem else [each]
        return found

    def own_parameter(
        self, node: fx.Node, prefix: str, path: tuple[str, ...], made: list[str], owned: dict[str | int, str]
    ) -> str:
        target = str(node.target)
        if target not in owned:
            mxnet = self.mxnet.get(target, target)
            own = owned[target] = identifier(short(mxnet, prefix), {*owned.values(), *ATTRIBUTES_IN_USE})
            place = ".".join([*path, own])
            if place.replace(".", "_") != mxnet:
                self.names[place] = mxnet
            made.append(f'self.{"parameter" if target in self.parameters else "buffer"}("{own}")')
        return f"self.{owned[target]}"

    def call(self, node: fx.Node, value: Callable[[fx.Node], str]) -> str:
        found = operator_of(node.target, f"to_source: {node.name}")
        self.functions[found.function.__name__] = found.function
        arguments = [value(each) for each in node.args]
        for key, given in node.kwargs.items():
            if key in IMPLIED:
                continue
            arguments.append(f"{key}={value(given) if isinstance(given, fx.Node) else literal(given)}")
        return f"{found.function.__name__}({', '.join(arguments)})"

    def named_class(self, body: str, wanted: str, top: bool) -> str:
        if body in self.classes and not top:
            return self.classes[body]
        name = identifier(wanted, {*NAMES_IN_USE, "Block", *(() if top else ("Model",))})
        number = 2
        while name in self.classes.values():
            name, number = f"{wanted}Kind{number}", number + 1
        self.classes[body] = name
        self.texts.append(f"class {name}(Block):\n{body}")
        return name

    # Operators

    def operator_sources(self) -> tuple[list[str], list[str]]:
        """Sources of the operators used and of what they call, dependencies first; import lines."""
        ordered: dict[str, Any] = {}
        imports: set[str] = set()

        def visit(thing: Any) -> None:
            key = thing.__name__
            if key in ordered:
                return
            ordered[key] = None
            code = thing if isinstance(thing, FunctionType) else None
            functions = [code] if code else [each for each in vars(thing).values() if hasattr(each, "__func__")]
            for function in functions:
                function = getattr(function, "__func__", function)
                constants = re.findall(r"\b[A-Z][A-Z0-9_]+\b", inspect.getsource(function))  # of the signature too
                for used in dict.fromkeys([*names_used(function.__code__), *constants]):
                    self.dependency(used, function.__globals__.get(used), visit, ordered, imports)
            ordered.pop(key)
            ordered[key] = plain_source(thing)

        for function in self.functions.values():
            visit(function)
        return [text for text in ordered.values() if text], sorted(imports)

    @staticmethod
    def dependency(name: str, thing: Any, visit: Callable, ordered: dict, imports: set[str]) -> None:
        module = getattr(thing, "__module__", "") or ""
        if isinstance(thing, (FunctionType, type)) and not module.startswith(("torch", "builtins", "typing")):
            visit(thing)
        elif getattr(thing, "__name__", "") == "torch_port.ops":
            imports.add("from torch_port import ops")
        elif isinstance(thing, (int, float, tuple, dict)) and name not in ordered:
            ordered[name] = f"{name} = {literal(thing)}"


def names_used(code: Any) -> list[str]:
    inner = [name for each in code.co_consts if hasattr(each, "co_names") for name in names_used(each)]
    return [*code.co_names, *inner]


def plain_source(thing: Any) -> str:
    """A function or class as it stands, without the registration."""
    text = textwrap.dedent(inspect.getsource(thing))
    text = re.sub(r"\A@operator\(.*?\)\n(?=def )", "", text, flags=re.DOTALL)
    for name in IMPLIED:
        text = text.replace(f"{name}: int,", f"{name}: int = 0,")
    defaults = getattr(thing, "__kwdefaults__", None) or {}
    text = SINGLE_DEFAULT.sub(
        lambda found: f"{found[1]}{literal(defaults[found[2]])}" if found[2] in defaults else found[0], text
    )
    return re.sub(rf"\b{Single.__name__}\b", "float", text)


def argument(node: fx.Node, name: str, top: bool) -> str:
    optional = top and node.op == "placeholder" and node.args == (None,)
    return f"{name}: Tensor | None = None" if optional else f"{name}: Tensor"


def literal(value: Any) -> str:
    """Python text of exactly this value; `inf` and `nan` alone would be names."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(each)}' for key, each in value.items())}}}"
    return f"float('{value}')" if isinstance(value, float) and not math.isfinite(value) else repr(value)


def short(name: str, prefix: str) -> str:
    flat = re.sub(r"[./]", "_", name)
    return flat[len(prefix) :] if prefix and flat.startswith(prefix) and len(flat) > len(prefix) else name


def class_name(scope: str) -> str:
    name = "".join(part[:1].upper() + part[1:] for part in scope.split("_") if part)
    return re.sub(r"\d+$", "", name) or f"Part{scope}"


def class_body(made: list[str], arguments: list[str], lines: list[str]) -> str:
    init = "\n".join(f"        {line}" for line in made)
    head = f"    def __init__(self) -> None:\n        super().__init__()\n{init}\n\n" if made else ""
    body = "\n".join(f"        {line}" for line in lines)
    return f"{head}    def forward(self, {', '.join(arguments)}) -> Any:\n{body}\n"
