"""What the pages for developers say is what the code is."""

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from finetuner import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
BINDING = ("match_data.py", "endpoints/*.py")
PAGES = ["ARCHITECTURE.md", "CONTRIBUTING.md"]
PAGES += sorted(str(file.relative_to(ROOT)) for file in (ROOT / "docs" / "decisions").glob("*.md"))


class Endpoint(NamedTuple):
    """A row of the table of endpoints."""

    name: str
    request: str
    answer: str


def prose(page: str) -> str:
    """Return a page without its blocks of code, which name files of other places, too."""
    text = re.sub(
        r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def named_paths(page: str) -> list[str]:
    """Return what stands between backticks and looks like a path of the repository."""
    quoted = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", prose(page))
    tops = {path.name for path in ROOT.iterdir()}
    return [
        one
        for one in quoted
        if one.endswith((".py", ".yml", ".toml", ".md", "/")) or one.split("/")[0] in tops
    ]


def bound() -> dict[Endpoint, bool]:
    """Return the endpoints that the Executors bind, and whether each is a stream."""
    trees = [
        ast.parse(file.read_text(encoding="utf-8"))
        for one in BINDING
        for file in (ROOT / "executors").glob(one)
    ]
    methods = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    found = {}
    for method in methods:
        for call in method.decorator_list:
            assert isinstance(call, ast.Call)
            given = {str(one.arg): ast.unparse(one.value) for one in call.keywords}
            endpoint = Endpoint(given["on"].strip("'"), given["request_schema"], given["response_schema"])
            found[endpoint] = given["request_schema"] == "StreamRequest"
    return found


def rows(header: str) -> list[list[str]]:
    """Return the cells of the table that begins with a header."""
    table = PAGE.split(f"| {header} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    """Renaming or moving a file leaves no page that sends its reader nowhere."""
    assert [path for path in named_paths(page) if not (ROOT / path).exists()] == []


def test_paths_are_found_on_the_page() -> None:
    """The check above looks at files, folders and modules, and not at what runs write into a workspace."""
    paths = named_paths("ARCHITECTURE.md")
    assert {"finetuner/store/", "flows/tune.yml", "config.yml", "pyproject.toml"} < set(paths)
    assert not {"active.json", "versions/v3/", "log.txt"} & set(paths)


def test_every_room_has_a_row() -> None:
    """A module or package beside the others in finetuner/ or executors/ is told what it is for."""
    modules = [path for top in ("finetuner", "executors") for path in (ROOT / top).iterdir()]
    names = {f"{path.parent.name}/{path.name}" for path in modules if path.suffix == ".py"}
    names |= {f"{path.parent.name}/{path.name}/" for path in modules if (path / "__init__.py").exists()}
    told = {cell.strip("`") for cell, *_ in rows("room")}
    assert names - told - {"finetuner/__init__.py", "executors/__init__.py"} == set()


def test_the_table_of_endpoints_is_what_the_executors_bind() -> None:
    """An endpoint that is added, dropped, or given another schema changes its row."""
    told = {}
    for name, request, answer, _ in rows("endpoint"):
        stream = name.endswith(" (stream)")
        told[Endpoint(*(one.strip("`") for one in (name.removesuffix(" (stream)"), request, answer)))] = (
            stream
        )
    assert bound() == told


def test_the_classes_of_parameters_are_in_the_code() -> None:
    """A renamed options class is renamed on the page."""
    code = "".join(
        file.read_text(encoding="utf-8")
        for top in ("executors", "finetuner")
        for file in (ROOT / top).rglob("*.py")
    )
    told = {name for *_, cell in rows("endpoint") for name in re.findall(r"`(\w+)`", cell)} - {"collection"}
    assert [name for name in sorted(told) if not re.search(rf"^class {name}\(", code, re.MULTILINE)] == []
    assert len(told) == 21


def test_the_floors_are_those_that_are_enforced() -> None:
    """Each layer of import-linter stands on the page as it does in pyproject.toml, in its order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    floors = PAGE.split("## Floors", 1)[1].split("## On disk", 1)[0]
    told = [
        re.sub(r"^(finetuner|executors) +", "", line.strip())
        for line in re.findall(r"^    (.*)$", floors, re.MULTILINE)
    ]
    enforced = [layer for one in contracts if one.get("containers") for layer in one["layers"]]
    assert [line for line in told if "─" not in line] == enforced


def test_every_error_class_is_in_the_drawn_tree_under_its_parent() -> None:
    """A class that is added or moved without the drawing at the top of errors.py is found here."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^[ │├└─]*?(\w+Error)\b", line)
        if match is None:
            continue
        depth = match.start(1)
        above = [one for one in above if one[0] < depth]
        drawn[match[1]] = above[-1][1] if above else "Exception"
        above.append((depth, match[1]))
    classes = inspect.getmembers(errors, inspect.isclass)
    assert {name: one.__bases__[0].__name__ for name, one in classes} == drawn


def test_what_contributing_quotes_is_in_the_code() -> None:
    """Each line of its examples is a line of the code or of its tests, but for what is left out."""
    files = [file for top in ("executors", "finetuner", "tests") for file in (ROOT / top).rglob("*.py")]
    code = {line for file in files for line in file.read_text(encoding="utf-8").splitlines()}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    quoted = [line for block in blocks for line in block.splitlines() if line.strip() != "..."]
    assert len(blocks) == 12
    assert [line for line in quoted if line not in code] == []
