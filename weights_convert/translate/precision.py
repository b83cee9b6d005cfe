"""A graph whose own float32 constants and casts are float64: what float64 witnesses run."""

import json

# They make float32 unless an attribute says otherwise.
MAKES_FLOAT32 = ("_arange", "_zeros", "_ones", "_full", "topk", "argsort", "one_hot")


def in_float64(text: str) -> str:
    """The text of a symbol.json with float32 constants and casts as float64."""
    content = json.loads(text)
    for node in content["nodes"]:
        if node["op"] == "null":
            continue
        attrs: dict[str, str] = {}
        for key in ("param", "attr", "attrs"):  # the key depends on the age
            attrs |= node.pop(key, None) or {}
        if attrs.get("dtype") == "float32" or node["op"] in MAKES_FLOAT32:
            attrs["dtype"] = attrs.get("dtype", "float32").replace("float32", "float64")
        node["attrs"] = attrs
    return json.dumps(content, ensure_ascii=False)  # MXNet cannot read \u
