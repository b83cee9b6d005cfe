"""Results of `dcn parity all` on disk: one JSON file, a run's entry replaced when it is run again."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dcn_suite.parity.run import versions
from dcn_suite.parity.suite.plan import PlannedRun
from dcn_tasks.config import load_config, to_plain
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from dcn_tasks.json_values import fits, has

FORMAT = 1
MAX_LEVELS = 16  # of lists and dictionaries in one another: an entry has five
COSTS = ("wall_s", "cpu_s", "peak_gib")
CHECK_FACTS = {"name": str, "held": int, "count": int}
ROW_FACTS = {"check": str, "node": str, "quantity": str, "claim": str}
PACKAGES = ("dcn_tasks", "mxnet_ref", "torch_port", "weights_convert", "dcn_suite/parity")
PART_OF_THE_CODE = {".py", ".h", ".cpp", ".so"}
OWN = "dcn_suite/parity/suite"  # who runs them does not change what they find


class Results:
    """Entries by a run's id. file: read where it is there, written whole with every entry.

    Raises: InputError for a file of something else.
    """

    def __init__(self, file: Path):
        self.file = Path(file)
        self.entries: dict[str, dict] = {}
        if not self.file.exists():
            return
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}")
            self.entries = {entry["id"]: entry for entry in content["runs"]}
            if wrong := [id for id, entry in self.entries.items() if not is_entry(entry)]:
                raise ValueError(f"an entry {str(wrong[0])[:80]!r} that no run has written")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{file}: expected results of `dcn parity all`, got something else: {error!r}") from error

    def has(self, run: PlannedRun) -> bool:
        """Whether the run was done with this code, configuration and these versions, and came to an end."""
        entry = self.entries.get(run.id, {})
        return "error" not in entry and entry.get("fingerprint") == fingerprint(run)

    def put(self, entry: Mapping) -> None:
        """Takes an entry in the place of the run's last one, and writes the file."""
        self.entries[entry["id"]] = dict(entry)
        content = {"format": FORMAT, "command": "dcn parity all", "runs": list(self.entries.values())}
        with atomic_path(self.file) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def is_entry(entry: Mapping) -> bool:
    """Whether everything that a table shows of it is there and of its kind, and all of it can be written again."""
    if not fits(entry, MAX_LEVELS) or not has(entry, {"id": str, "holds": bool}):
        return False
    if any(type(entry.get(name)) not in (int, float) for name in COSTS):
        return False
    if "error" in entry:
        return isinstance(entry["error"], str) and not entry["holds"]
    if not has(entry, {"red": int, "summary": list, "rows": list, "worst_float64_disagreement": dict}):
        return False
    checks, rows = entry["summary"], entry["rows"]
    return (
        all(has(check, CHECK_FACTS) and is_strain(check.get("strain")) for check in checks)
        and all(type(check.get("by_layer", 0)) is int for check in checks)
        and {"isolated", "chained"} <= {check["name"] for check in checks}
        and type(entry["worst_float64_disagreement"].get("of_scale", 0.0)) in (int, float)
        and all(has(row, ROW_FACTS) and type(row.get("got")) in (int, float, str) for row in rows)
    )


def is_strain(value: object) -> bool:
    """A number, or one in words: JSON has no infinity."""
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def fingerprint(run: PlannedRun) -> str:
    """Of all that decides what a run finds: code, configuration, its options, versions."""
    facts = [code_digest(), to_plain(load_config(run.config)), run.arguments, versions()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache
def code_digest() -> str:
    """Of the sources of everything that takes part, and of the compiled library."""
    root = Path(__file__).resolve().parents[3]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix in PART_OF_THE_CODE and path.is_file() and not name.startswith(OWN):
                digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()
