"""docs/operators.md, from the registry: what each operator does and on which cases it was compared with MXNet.

python -m weights_convert.translate.operators_page       # prints the page without the cases; tests/ has them
"""

from collections.abc import Iterable, Mapping

from weights_convert.translate import operators as _operators  # noqa: F401  fills the registry
from weights_convert.translate.registry import REGISTRY, Operator

HEAD = """# Operators of any MXNet graph
Generated from the registry (`weights_convert.translate`) and the table of cases (`tests/convert_any/cases`) by
`python -m tests.convert_any.write_page`; a test holds it to both. Each case runs in MXNet 1.9.1 and PyTorch, in float32
and, where MXNet has it, float64.
To add one from outside see [any_model.md](any_model.md).

| operator (other names) | semantics | cases compared with MXNet |
|---|---|---|
"""

# Operators that torch.jit.script cannot have, or not with every attribute: they follow the data, call operators of torch_port,
# or compute with 8-bit numbers. A test holds the list to what happens.
UNSCRIPTABLE = frozenset(
    {
        "Correlation",
        "_npx_reshape",
        "RNN",
        "ROIPooling",
        "_contrib_DeformableConvolution",
        "_contrib_DeformablePSROIPooling",
        "_contrib_ModulatedDeformableConvolution",
        "_contrib_MultiBoxDetection",
        "_contrib_MultiBoxPrior",
        "_contrib_MultiBoxTarget",
        "_contrib_PSROIPooling",
        "_contrib_ROIAlign",
        "_contrib_bipartite_matching",
        "_contrib_box_nms",
        "_contrib_dequantize",
        "_contrib_index_array",
        "_contrib_quantize_v2",
        "_contrib_quantized_concat",
        "_contrib_quantized_pooling",
        "_sg_mkldnn_conv",
        "_unravel_index",
        "gather_nd",
        "prod",
        "scatter_nd",
        "slice",
    }
)


def render(cases: Mapping[str, Iterable[str]], reasons: Mapping[str, str]) -> str:
    """The page. cases: operator -> names of its cases. reasons: operator -> why it has none."""
    own = {each.name: each for each in REGISTRY.values()}
    rows = [row(own[name], cases, reasons) for name in sorted(own, key=lambda name: name.strip("_").lower())]
    refused = ", ".join(f"`{name}`" for name in sorted(UNSCRIPTABLE, key=lambda name: name.strip("_").lower()))
    counted = f"{len(own)} operators under {len(REGISTRY)} names."
    return (
        HEAD
        + "\n".join(rows)
        + f"\n\n{counted}\n\nNot for `torch.jit.script`, or not with every attribute: {refused}.\n"
    )


def row(found: Operator, cases: Mapping[str, Iterable[str]], reasons: Mapping[str, str]) -> str:
    others = f" ({', '.join(found.aliases)})" if found.aliases else ""
    tried = "; ".join(cases.get(found.name, ())) or f"none: {reasons.get(found.name, 'not run')}"
    return f"| {found.name}{others} | {found.semantics.replace('|', '&#124;')} | {tried} |"
