# SPDX-License-Identifier: Apache-2.0
"""`import cmsisnn_x` needs NumPy and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import cmsisnn_x

BLOCKED_RUN = """
import sys
import numpy

class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "cmsisnn_x"):
            raise ModuleNotFoundError(f"No module named {name!r}")

# In front of everything, also of an editable install's own finder, which needs its build tools once at import.
before = set(sys.modules)
sys.meta_path.insert(0, Block())
import cmsisnn_x
assert cmsisnn_x.convolve(numpy.ones((2, 2, 1), "i1"), numpy.ones((1, 2, 2, 1), "i1"), out_shift=0).item() == 4
foreign = {name.partition(".")[0] for name in set(sys.modules) - before}
foreign -= {"numpy", "cmsisnn_x"} | sys.stdlib_module_names
own = ("_cmsisnn", "__editable__", "_cython_", "cython_runtime")
print(sorted(name for name in foreign if not name.startswith(own)))
"""


def test_nothing_but_numpy_is_imported():
    run = subprocess.run([sys.executable, "-P", "-c", BLOCKED_RUN], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


def test_a_checkout_is_not_taken_for_the_package():
    """`python -c` and `python -m` put the current directory first; in a checkout that is where nothing is compiled."""
    checkout = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    code = (
        "import cmsisnn_x, tuning; print(cmsisnn_x.get_include());"
        "tuning.tune(tuning.load_model('digits'), tuning.load_target('cortex-m4'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == cmsisnn_x.get_include()


def test_get_include_holds_the_headers():
    assert (Path(cmsisnn_x.get_include()) / "cmsisnn_x" / "convolve.h").is_file()


def test_show_config_names_versions_and_the_kernels_in_use(capsys):
    cmsisnn_x.show_config()
    text = capsys.readouterr().out
    rows = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert rows["cmsisnn-x"] == cmsisnn_x.__version__
    assert rows["headers"] == cmsisnn_x.get_include()
    assert {"compiler", "cython", "numpy", "python", "kernels", "machine"} <= rows.keys()


def test_every_exported_name_exists():
    assert all(hasattr(cmsisnn_x, name) for name in cmsisnn_x.__all__)
    assert cmsisnn_x.__all__ == sorted(cmsisnn_x.__all__)
