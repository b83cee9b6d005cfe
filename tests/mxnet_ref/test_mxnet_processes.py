"""MXNet's part among several processes: what the environment must say, what ends all of them, what a server refuses."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dcn_tasks.errors import InputError

pytestmark = pytest.mark.mxnet
REPOSITORY = Path(__file__).resolve().parents[2]
COMPLETE = {
    "DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": "9", "DMLC_NUM_SERVER": "1", "DMLC_NUM_WORKER": "2",
}  # fmt: skip


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("role", "changes", "said"),
    [
        ("trainer", {}, "DMLC_ROLE: expected scheduler, server, worker, got 'trainer'"),
        ("worker", {"DMLC_PS_ROOT_PORT": None, "DMLC_NUM_WORKER": None}, "expected DMLC_PS_ROOT_PORT, DMLC_NUM_WORKER beside it"),
        ("server", {"DMLC_NUM_SERVER": "one"}, "DMLC_NUM_SERVER: expected a whole number of at least 1, got 'one'"),
    ],
)  # fmt: skip
def test_an_incomplete_environment_is_refused_in_words(role, changes, said, monkeypatch):
    import mxnet_ref.processes as processes

    monkeypatch.setattr(processes, "ROLE", role)
    for name, value in (COMPLETE | changes).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said):
        processes.check_environment()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dist_sync", "for several processes, and this one is alone"),
        ("dist_async", "default.kvstore: expected one of local, device, dist_sync"),
    ],
)
def test_a_kvstore_that_cannot_be_had_is_refused(kind, said):
    from mxnet_ref.gradient_sums import GradientSums

    with pytest.raises(InputError, match=said):
        GradientSums(kind)


WORKER = """
import os
import sys
import time
if sys.argv[1] == "sleeps":
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: two of them write into one pipe
    time.sleep(100)
import mxnet as mx
from dcn_tasks.errors import InputError
from mxnet_ref.gradient_sums import GradientSums
from mxnet_ref.processes import join

processes = join()
if sys.argv[1] == "commands":
    from mxnet.base import _LIB, check_call, c_str
    check_call(_LIB.MXKVStoreSendCommmandToServers(processes.store.handle, 0, c_str("no pickle")))
if sys.argv[1] == "fails" and processes.rank == 1:
    processes.leave_the_others()
    sys.exit("the disk is full")
into = {"a": mx.nd.zeros(2), "b": mx.nd.zeros(1)}
sums = GradientSums("device", processes)
for update in (1, 2):
    image = {"a": mx.nd.array([1, 2]) * update, "b": mx.nd.array([processes.rank])}
    sums.put([image, image], into)
    sums.put_mean([{"c": mx.nd.array([processes.rank])}, {"c": mx.nd.array([3])}], mean := {"c": mx.nd.zeros(1)})
    print([into["a"].asnumpy().tolist(), into["b"].asscalar(), mean["c"].asscalar()])
processes.wait()
"""


@pytest.fixture
def launched(tmp_path):
    (tmp_path / "worker_of_a_test.py").write_text(WORKER, encoding="utf-8")
    paths = os.pathsep.join((str(REPOSITORY), str(tmp_path)))
    return lambda *words: run(
        "-m", "mxnet_ref.launch", "--workers", "2", "-m", "worker_of_a_test", *words, PYTHONPATH=paths
    )


def test_workers_add_up_and_servers_refuse_commands(launched):
    ended = launched("commands")
    assert ended.returncode == 0, ended.stderr
    # images 1, 2 of each of two processes: a summed over four images, b over ranks 0, 0, 1, 1; c is the mean of 0, 3, 1, 3
    said = re.findall(r"\[\[.*?\].*?\]", ended.stdout)  # both write at once: line ends may follow two lines
    assert sorted(said) == sorted(["[[4.0, 8.0], 2.0, 1.75]", "[[8.0, 16.0], 2.0, 1.75]"] * 2)
    assert "MXNet server: command 0 refused" in ended.stderr


def test_a_worker_that_fails_ends_all_of_them(launched):
    ended = launched("fails")
    assert ended.returncode == 1 and "the disk is full" in ended.stderr


def test_no_worker_outlives_a_launcher_that_is_told_to_end(tmp_path):
    (tmp_path / "worker_of_a_test.py").write_text(WORKER, encoding="utf-8")
    words = ["-m", "mxnet_ref.launch", "--workers", "2", "-m", "worker_of_a_test", "sleeps"]
    paths = os.pathsep.join((str(REPOSITORY), str(tmp_path)))
    with subprocess.Popen(
        [sys.executable, *words], env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    ) as launcher:
        workers = [int(launcher.stdout.readline()) for _ in range(2)]
        launcher.terminate()
        assert launcher.wait(100) == 128 + signal.SIGTERM
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", "0", "-m", "x"), "--workers: expected a whole number of at least 1, got '0'"),
        (("--workers", "2"), "required: -m"),
        (("--workers", "2", "-m"), "-m: expected a module"),
    ],
)
def test_wrong_usage_of_the_launcher_ends_with_2(words, said, capsys):
    from mxnet_ref.launch import main

    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and said in capsys.readouterr().err
