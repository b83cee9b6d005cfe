"""Files are read without any framework."""

import subprocess
import sys
from pathlib import Path


def test_reading_a_parameter_file_imports_neither_mxnet_nor_torch():
    path = Path(__file__).parent / "data" / "mxnet2_sparse.npz"
    script = (
        "import sys, weights_convert as w\n"
        "w.load_params(sys.argv[1])\n"
        "sys.exit(bool({'mxnet', 'torch'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
