"""The library in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_library_needs_neither_jina_nor_docarray() -> None:
    """With both out of reach, each module of the library can still be imported."""
    code = (
        "import importlib, pkgutil, sys\n"
        "sys.modules.update(jina=None, docarray=None)\n"
        "import finetuner\n"
        "for module in pkgutil.walk_packages(finetuner.__path__, 'finetuner.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
