"""`dcn`: help with examples, exit codes, and one sentence for whatever goes wrong."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dcn_suite.cli import main as main_module
from dcn_suite.cli.main import COMMANDS, main
from dcn_tasks import processors
from dcn_tasks.errors import InputError

INSTALLED = [command.name for command in COMMANDS if command.installed]


@pytest.fixture
def failing(monkeypatch):
    """`dcn info` that raises what it is given."""

    def fail_with(error: BaseException) -> None:
        def run(args):
            raise error

        from dcn_suite.cli import info

        monkeypatch.setattr(info, "run", run)

    return fail_with


def exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_the_commands_of_this_branch_are_installed():
    assert {"convert", "inspect", "info"} <= set(INSTALLED)


@pytest.mark.parametrize("command", INSTALLED)
def test_help_of_every_command_shows_an_example(command, capsys):
    assert exit_code([command, "--help"]) == 0
    assert "example" in capsys.readouterr().out


@pytest.mark.parametrize("command", INSTALLED)
def test_every_command_speaks_json(command, capsys):
    exit_code([command, "--help"])
    assert "--json" in capsys.readouterr().out


def test_help_lists_every_installed_command(capsys):
    assert exit_code(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"    {name} " in out for name in INSTALLED) and "example: dcn convert" in out


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["info", "--frobnicate"], ["inspect"]])
def test_wrong_usage_exits_2(arguments, capsys):
    assert exit_code(arguments) == 2
    assert "usage: dcn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("x.params: is empty"), "dcn info: x.params: is empty\n"),
        (OSError(errno.ENOSPC, "No space left on device", "a.st"), "dcn info: a.st: No space left on device; nothing"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "dcn info: /x: Permission denied; nothing"),
        (ModuleNotFoundError("No module named 'mxnet'", name="mxnet"), "dcn info: MXNet is not installed: pip install"),
        (ImportError("torch_port: expected the native library"), "dcn info: torch_port: expected the native library"),
    ],
)
def test_error_is_one_sentence_and_exit_2(failing, capsys, error, sentence):
    failing(error)
    assert main(["info"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(sentence) and captured.err.count("\n") == 1 and captured.out == ""


def test_interruption_is_clean(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "dcn info: interrupted; nothing half-written is left\n"


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), ModuleNotFoundError("No module named 'x'", name="x")])
def test_a_bug_keeps_its_traceback(failing, error):
    failing(error)
    with pytest.raises(type(error)):
        main(["info"])


def test_exit_code_is_the_commands(monkeypatch):
    from dcn_suite.cli import info

    monkeypatch.setattr(info, "run", lambda args: 1)
    assert main(["info"]) == 1


def test_only_the_called_command_is_imported():
    script = (
        "import sys; from dcn_suite.cli.main import main\n"
        "try: main(['info', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'dcn_suite.cli.convert' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=root(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m dcn_suite.cli.main info | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=root(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0" and "Traceback" not in done.stderr


def root() -> Path:
    return Path(main_module.__file__).parents[2]


def test_command_without_module_is_not_offered(monkeypatch, capsys):
    ghost = SimpleNamespace(name="ghost", help="not built", module="dcn_suite.cli.ghost", installed=False)
    monkeypatch.setattr(main_module, "COMMANDS", (*COMMANDS, ghost))
    assert exit_code(["ghost"]) == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("maximum recursion depth exceeded")])
def test_an_input_beyond_this_machine_is_a_sentence(failing, capsys, error):
    failing(error)
    assert main(["info"]) == 2
    assert "an input is too large or too deep for this machine" in capsys.readouterr().err


def test_every_core_is_used_unless_the_user_says_otherwise(failing, monkeypatch):
    """MXNet reads the variable when it is imported; without it, it takes one of two processors."""
    failing(InputError("no run"))
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(processors, "siblings_of", lambda processor: f"core {processor // 2}")
    for given, wanted in ((None, "2"), ("7", "7")):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if given:
            monkeypatch.setenv("OMP_NUM_THREADS", given)
        main(["info"])
        assert os.environ["OMP_NUM_THREADS"] == wanted
