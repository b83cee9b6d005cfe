"""`dcn COMMAND ...`: finds the command's module, runs it, and turns what goes wrong into one sentence.

Exit codes: 0 done, 1 it does not hold (a check failed), 2 wrong usage or input. Results go to stdout, progress and
messages to stderr.
"""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from dcn_tasks.errors import InputError
from dcn_tasks.processors import count_cores

HOLDS, DOES_NOT_HOLD, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Command:
    """`module` has `add_parser(subparsers)`, which sets `run=run`, and `run(args) -> int`."""

    name: str
    help: str

    @property
    def module(self) -> str:
        return f"dcn_suite.cli.{self.name}"

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


COMMANDS = (
    Command("demo", "the whole story on generated data: reference, conversion, parity, detection, report"),
    Command("parity", "the same input through MXNet and PyTorch, layer by layer"),
    Command("convert", "MXNet .params to PyTorch .safetensors, and back"),
    Command("inspect", "what is in a .params, symbol.json or .safetensors file"),
    Command("train", "train a configuration in MXNet or PyTorch"),
    Command("eval", "evaluate a checkpoint in MXNet or PyTorch"),
    Command("predict", "find objects in images"),
    Command("reproduce", "list, run and compare the rows of the paper's tables"),
    Command("complexity", "parameters, multiplications and time of a configuration"),
    Command("visualize", "draw sampling points and moved bins"),
    Command("bench", "time the operators side by side"),
    Command("info", "versions, instruction set, GPU library, and whether MXNet is here"),
)
REMEDIES = {
    "mxnet": "MXNet is not installed: pip install 'dcn-port[mxnet]' (Python 3.8 to 3.11), or use what needs none of it",
    "gluoncv": "GluonCV is not installed: pip install 'dcn-port[dev]'",
    "pycocotools": "pycocotools is not installed: pip install pycocotools",
}


class CommandHelp(argparse.RawDescriptionHelpFormatter):
    """A line for each command; argparse forgets their indentation and breaks the line after the longest name."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30)
        self._action_max_length = max(len(command.name) for command in COMMANDS) + 4


def build_parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser with the wanted command complete and the others as a line of help, so that `dcn` starts at once."""
    parser = argparse.ArgumentParser(
        prog="dcn",
        description="The original Deformable ConvNets in MXNet and PyTorch: convert, compare, train, detect.",
        epilog="example: dcn convert rfcn_dcn_voc-0007.params --config "
        "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem -o converted/",
        formatter_class=CommandHelp,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        if not command.installed:
            continue
        if command.name == wanted:
            importlib.import_module(command.module).add_parser(subparsers)
        else:
            subparsers.add_parser(command.name, help=command.help)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; argparse itself exits with 2 on wrong usage, 0 after --help."""
    argv = list(sys.argv[1:] if argv is None else argv)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    use_every_core()
    try:
        args = build_parser(wanted).parse_args(argv)
        module = importlib.import_module(f"dcn_suite.cli.{args.command}")
        code = module.run(args)
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(wanted, str(error))
    except BrokenPipeError:  # `dcn inspect FILE | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return HOLDS
    except OSError as error:
        return complain(wanted, describe(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in REMEDIES:
            raise
        return complain(wanted, REMEDIES[missing])
    except (MemoryError, RecursionError) as error:
        return complain(wanted, f"{str(error) or 'out of memory'}: an input is too large or too deep for this machine")
    except ImportError as error:  # the native library is not built; its message says how
        return complain(wanted, str(error))
    except KeyboardInterrupt:
        complain(wanted, "interrupted; nothing half-written is left")
        return INTERRUPTED


def use_every_core() -> None:
    """As many threads as there are cores, unless the user says how many: MXNet alone takes half the processors, one of two.

    Before any framework is imported.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(count_cores()))


def complain(command: str | None, sentence: str) -> int:
    print(" ".join(filter(None, ("dcn", command))) + f": {sentence}", file=sys.stderr)
    return WRONG_USAGE


def describe(error: OSError) -> str:
    """ "PATH: No space left on device", without Python's number and quotes."""
    where = f"{error.filename}: " if error.filename else ""
    return where + (error.strerror or str(error)) + "; nothing half-written is left"


if __name__ == "__main__":
    sys.exit(main())
