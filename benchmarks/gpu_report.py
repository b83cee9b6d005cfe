"""Turns the rows of gpu_time.py into tables: every row beside the dense convolution, and a verdict on every goal."""

import subprocess

DENSE, OURS, THEIRS = "dense conv2d (cuDNN)", "deform_conv2d", "torchvision deform_conv2d"


def ms_of(rows: list[dict], shape: str, precision: str, which: str, what: str) -> float | None:
    found = [
        r["ms"] for r in rows if (r["shape"], r["precision"], r["pass"], r["what"]) == (shape, precision, which, what)
    ]
    return found[0] if found else None


def goal(name: str, value: float | None, limit: float, *, at_least: bool = False) -> dict:
    if value is None:
        return {"goal": name, "limit": limit, "found": None, "verdict": "not run"}
    held = value >= limit if at_least else value <= limit
    return {"goal": name, "limit": limit, "found": value, "verdict": "holds" if held else "does not hold"}


def ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def total(*parts: float | None) -> float | None:
    return None if None in parts else sum(parts)


def goals(rows: list[dict]) -> list[dict]:
    """Of shapes A and C, with bfloat16 and TF32 products, and of the pooling."""
    made = []
    convolutions = {(r["shape"], r["precision"]) for r in rows if r["what"] == OURS and r["precision"] != "float32"}
    for shape, precision in sorted(convolutions):
        if not shape.startswith(("A:", "C:")):
            continue
        times = {(what, which): ms_of(rows, shape, precision, which, what)
                 for what in (DENSE, OURS, THEIRS) for which in ("forward", "backward")}  # fmt: skip
        both = {what: total(times[what, "forward"], times[what, "backward"]) for what in (DENSE, OURS)}
        name = f"{shape[0]}, {precision}"
        made.append(goal(f"{name}: forward / dense", ratio(times[OURS, "forward"], times[DENSE, "forward"]), 1.5))
        made.append(goal(f"{name}: forward + backward / dense", ratio(both[OURS], both[DENSE]), 2.0))
        for which in ("forward", "backward"):
            against = ratio(times[THEIRS, which], times[OURS, which])
            made.append(goal(f"{name}: torchvision / ours, {which}", against, 3.0, at_least=True))
        share = [r["share"] for r in rows if "share" in r and (r["shape"], r["precision"]) == (shape, precision)]
        made.append(goal(f"{name}: extra memory / (input + output)", share[0] if share else None, 0.1))
    for shape in sorted({r["shape"] for r in rows if r["what"] == "deform_psroi_pool"}):
        plain, fused = (ms_of(rows, shape, "float32", "forward + backward", what)
                        for what in ("one thread per output", "deform_psroi_pool"))  # fmt: skip
        made.append(goal(f"{shape}: plain / ours, forward + backward", ratio(plain, fused), 2.0, at_least=True))
    return made


def number(value: float | None) -> str:
    return "not run" if value is None else f"{value:.2f}"


def markdown(report: dict) -> str:
    tests, rows = report["tests"], report["rows"]
    lines = [
        f"# {report['device']}",
        f"{report['multiprocessors']} multiprocessors, driver {report['driver']}, CUDA {report['cuda']}, "
        f"PyTorch {report['torch']}, Python {report['python']}; `{report['command']}`. {report['statistic']}.",
        "Tests: " + ("not run" if tests is None else ", ".join(f"{v} {k}" for k, v in tests.items()))
        + f"; compute-sanitizer: {report['sanitizer']}.",
        "", "| goal | found | limit | verdict |", "|---|---|---|---|",
        *(f"| {g['goal']} | {number(g['found'])} | {g['limit']} | {g['verdict']} |" for g in report["goals"]),
        "", "| shape | precision | pass | what | ms | / dense |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in rows:
        if "share" in r:
            lines.append(f"| {r['shape']} | {r['precision']} | {r['pass']} | {r['what']} | {r['share']:.1%} | |")
            continue
        beside = ratio(r["ms"], ms_of(rows, r["shape"], r["precision"], r["pass"], DENSE))
        lines.append(f"| {r['shape']} | {r['precision']} | {r['pass']} | {r['what']} | {r['ms']:.3f} | "
                     f"{'' if beside is None else f'{beside:.2f}'} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def driver_version() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[0].strip() or "unknown"
