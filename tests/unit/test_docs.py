"""Docstrings say what the code does, and the house keeps its shape."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for folder in ("finetuner", "executors") for path in (ROOT / folder).rglob("*.py"))
SECTION = re.compile(r"^(Args|Attributes):\n((?:(?:    .*)?\n?)+)", re.MULTILINE)
ENTRY = re.compile(r"^    (\w+):", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def told(node: Function | ast.ClassDef, section: str) -> list[str] | None:
    """Return the names in a section of a docstring, or None if there is no such section."""
    for name, entries in SECTION.findall(ast.get_docstring(node) or ""):
        if name == section:
            return ENTRY.findall(entries)
    return None


def parameters(function: Function) -> list[str]:
    """Return the names of a function's parameters without ``self`` and ``cls``."""
    of = function.args
    names = [*of.posonlyargs, *of.args, of.vararg, *of.kwonlyargs, of.kwarg]
    return [one.arg for one in names if one is not None and one.arg not in ("self", "cls")]


@cache
def nodes(path: Path) -> list[Function | ast.ClassDef]:
    """Return the functions and classes of a module, nested ones, too."""
    every = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in every if isinstance(node, Function | ast.ClassDef)]


def fields(node: ast.ClassDef) -> list[str]:
    """Return the public fields of a class: those it declares, or else those its constructor sets."""
    declared = [one.target for one in node.body if isinstance(one, ast.AnnAssign)]
    names = [one.id for one in declared if isinstance(one, ast.Name)]
    constructor = _constructor(node)
    if not names and constructor is not None:
        stored = [one for one in ast.walk(constructor) if isinstance(one, ast.Attribute)]
        names = [one.attr for one in stored if isinstance(one.ctx, ast.Store)]
    return [name for name in names if not name.startswith("_")]


def _constructor(node: Function | ast.ClassDef) -> Function | None:
    if isinstance(node, Function):
        return node
    made = [one for one in node.body if isinstance(one, Function) and one.name == "__init__"]
    return made[0] if made else None


def test_documented_arguments_are_those_of_the_signature() -> None:
    """``Args:`` names every parameter of its function, or of the class's constructor, in order."""
    wrong = []
    for path in MODULES:
        for node in nodes(path):
            names, function = told(node, "Args"), _constructor(node)
            if names is not None and (function is None or names != parameters(function)):
                wrong.append((path.name, node.name, names))
    assert wrong == []


def test_documented_attributes_are_those_of_the_class() -> None:
    """``Attributes:`` names every public field of its class, in order."""
    wrong = []
    for path in MODULES:
        for node in nodes(path):
            names = told(node, "Attributes")
            if names is not None and not (isinstance(node, ast.ClassDef) and names == fields(node)):
                wrong.append((path.name, node.name, names))
    assert wrong == []


def test_no_module_is_over_300_lines() -> None:
    """A module that grows beyond that has become two."""
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_the_folder_of_data_sets_is_no_package() -> None:
    """A package of that name would shadow Hugging Face's ``datasets`` wherever this repository is the path."""
    assert list((ROOT / "datasets").rglob("__init__.py")) == []


def test_the_sections_are_found() -> None:
    """The patterns above see what they are meant to see."""
    source = 'def f(a, *b, c=1, **d):\n    """Do.\n\n    Args:\n        a: One\n            more: of it.\n        b: Two.\n\n    Raises:\n        E: If.\n    """\n'
    function = ast.parse(source).body[0]
    assert isinstance(function, Function)
    assert (told(function, "Args"), told(function, "Attributes")) == (["a", "b"], None)
    assert parameters(function) == ["a", "b", "c", "d"]
