"""Imports run one way: training and export know the runtime's ground floor, never the reverse."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flowtrack

PACKAGE = Path(flowtrack.__file__).parent
GROUND = {"errors", "structs", "skeleton", "__init__"}


def imported_parts(folder):
    """(file, part of flowtrack) for every import of flowtrack in a folder's files."""
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path} imports relatively"
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.partition(".")[0] == "flowtrack":
                    yield path.name, (name.split(".") + ["__init__"])[1]


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("training", GROUND | {"training", "synthetic"}),
        ("export", GROUND | {"export", "training", "runtime", "tracker", "calibration"}),
        ("runtime", GROUND | {"runtime", "tracker"}),
    ],
)
def test_imports_run_one_way(folder, allowed):
    parts = list(imported_parts(folder))
    assert parts
    assert [(file, part) for file, part in parts if part not in allowed] == []


def test_the_runtime_loads_neither_torch_nor_onnx():
    program = (
        "import sys, flowtrack.runtime, flowtrack.runtime.engines, flowtrack.runtime.pose;"
        "print([name for name in ('torch', 'onnx', 'onnxscript') if name in sys.modules])"
    )
    run = subprocess.run(  # a fresh process: this one has torch
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
