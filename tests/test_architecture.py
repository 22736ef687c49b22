"""The direction of imports, and that what needs no TensorFlow does not wait for it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "klsearch"
ROOMS = ("vae", "studies", "reports", "search")  # from the ground up
# From the ground up as well; `networks` names a wing, which is a folder, or a file beside the wings.
WINGS = {
    "vae": (
        "host", "hyperparameters", "data", "likelihoods", "objective", "elbo", "layers",
        "diagnostics", "networks", "evaluation", "training",
    ),
    "studies": (
        "errors", "files", "definitions", "procedure", "ranking", "record", "ladder", "response", "verdict", "summary",
    ),
    "reports": (
        "visible", "paths", "page", "wording", "tables", "readings", "figures", "sections", "pages", "report",
    ),
    "search": (
        "layout", "seeds", "stopping", "terminal",
        "storage", "training", "trials", "confirmation", "running", "run_study", "commands", "cli",
    ),
}  # fmt: skip
# Source files without a test file of their name at the mirrored place.
UNMIRRORED = {
    "search/training/assignment.py": "is a record of fields",
    "studies/procedure.py": "names the procedures; test_contest.py and test_confirmer.py hold what they do",
    "studies/verdict/standing.py": "is a record of fields",
    "vae/likelihoods/likelihood.py": "is abstract; test_catalog.py holds what every likelihood must do",
}
MOST_ENTRIES = 12  # of a folder, beside __init__.py, README.md and conftest.py
SLOW_TO_LOAD = ("joblib", "keras", "matplotlib", "optuna", "pandas", "tensorflow")


def module_name(path: Path) -> str:
    parts = ("klsearch", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1]


MODULES = {module_name(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}


def nodes(node: ast.AST, *, at_load: bool) -> Iterator[ast.AST]:
    """The nodes below; if `at_load`, only those that run when the module is loaded."""
    for child in ast.iter_child_nodes(node):
        if not (at_load and runs_later_or_never(child)):
            yield child
            yield from nodes(child, at_load=at_load)


def runs_later_or_never(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def import_nodes(module: str, *, at_load: bool = False) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in nodes(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_load=at_load):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def names(node: ast.Import | ast.ImportFrom) -> set[str]:
    """What a statement imports: `from klsearch import vae` gives klsearch and klsearch.vae."""
    aliases = {alias.name for alias in node.names}
    if isinstance(node, ast.Import):
        return aliases
    return {str(node.module)} | {f"{node.module}.{alias}" for alias in aliases}


def libraries(module: str) -> set[str]:
    """The packages that a module imports anywhere, in functions too."""
    return {name.partition(".")[0] for node in import_nodes(module) for name in names(node)}


@cache
def loaded_with(module: str) -> frozenset[str]:
    """Our modules and the others' packages that importing a module loads, directly or through our other modules."""
    assert module in MODULES, f"there is no {module}"
    ours, others, pending = set[str](), set[str](), [module]
    while pending:
        name = pending.pop()
        if name not in MODULES:
            others.add(name.partition(".")[0])
        elif name not in ours:
            ours.add(name)
            pending += [imported for node in import_nodes(name, at_load=True) for imported in names(node)]
    return frozenset(ours | others)


def of_room(*rooms: str) -> list[str]:
    return [module for module in MODULES if room_of(module) in rooms]


def test_imports_between_the_rooms_go_down() -> None:
    upward = [
        f"{module}:{node.lineno} imports {name}"
        for module in MODULES
        for node in import_nodes(module)
        for name in names(node)
        if name.startswith("klsearch.") and room_of(name) in ROOMS[ROOMS.index(room_of(module)) + 1 :]
    ]
    assert upward == []


def wing_of(module: str) -> str | None:
    """The folder or file of its room that a module is or lies in; None for the room itself."""
    return [*module.split("."), None][2]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_the_wings_of_a_room_go_down(room: str) -> None:
    order = WINGS[room]
    upward = [
        f"{module}:{node.lineno} imports {name}"
        for module in of_room(room)
        for node in import_nodes(module)
        for name in names(node)
        if name in MODULES and room_of(name) == room and (below := wing_of(module)) and (above := wing_of(name))
        if order.index(above) > order.index(below)
    ]
    assert upward == []


def test_every_wing_has_its_place_in_the_order() -> None:
    found = {room: {wing for module in of_room(room) if (wing := wing_of(module))} for room in ROOMS}
    assert found == {room: set(order) for room, order in WINGS.items()}


def test_no_section_of_the_report_imports_another() -> None:
    sections = "klsearch.reports.sections."
    assert [
        f"{module} imports {name}"
        for module in MODULES
        if module.startswith(sections)
        for node in import_nodes(module)
        for name in names(node) & set(MODULES)
        if name.startswith(sections)
    ] == []


def test_no_folder_holds_more_than_one_can_take_in() -> None:
    beside = {"__init__.py", "README.md", "conftest.py", "__pycache__"}
    folders = [folder for top in (*ROOMS, "tests") for folder in (ROOT / top, *(ROOT / top).rglob("*/"))]
    entries = {
        str(folder.relative_to(ROOT)): len({path.name for path in folder.iterdir()} - beside)
        for folder in folders
        if folder.name not in beside
    }
    assert {folder: count for folder, count in entries.items() if count > MOST_ENTRIES} == {}


def has_code(path: Path) -> bool:
    """True for a file that defines something, be it a single value; an `__init__.py` may hold no more than words."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) for node in body)


@pytest.mark.parametrize("room", ROOMS)
def test_every_source_file_of_a_room_has_a_test_file_of_its_name(room: str) -> None:
    sources = [path.relative_to(ROOT) for path in sorted((ROOT / room).rglob("*.py")) if has_code(path)]
    untested = {str(path) for path in sources if not (ROOT / "tests" / path.with_name(f"test_{path.name}")).is_file()}
    assert untested == {path for path in UNMIRRORED if path.startswith(f"{room}/")}


def test_no_concrete_method_is_overridden() -> None:
    classes = {
        node.name: (module, node)
        for module in MODULES
        for node in nodes(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_load=False)
        if isinstance(node, ast.ClassDef)
    }
    overridden = [
        f"{module}: {name}.{method} overrides {base.id}'s"
        for name, (module, node) in classes.items()
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in classes
        for method in methods(node) & methods(classes[base.id][1], concrete=True)
    ]
    assert overridden == []


def methods(node: ast.ClassDef, *, concrete: bool = False) -> set[str]:
    """The names of a class's methods, its making apart; only those that are not abstract if `concrete`."""
    found = [method for method in node.body if isinstance(method, ast.FunctionDef) and method.name != "__init__"]
    abstract = {
        method.name for method in found for mark in method.decorator_list if ast.unparse(mark) == "abstractmethod"
    }
    return {method.name for method in found} - (abstract if concrete else set())


def test_imports_are_absolute() -> None:
    relative = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in import_nodes(module)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize(
    ("room", "foreign"),
    [
        ("vae", {"click", "jinja2", "joblib", "matplotlib", "optuna", "pydantic", "rich", "sqlalchemy"}),
        ("studies", {"click", "jinja2", "joblib", "keras", "matplotlib", "optuna", "pandas", "rich", "tensorflow"}),
        ("reports", {"click", "joblib", "keras", "optuna", "rich", "sqlalchemy", "tensorflow"}),
    ],
)
def test_a_room_never_imports_what_belongs_elsewhere(room: str, foreign: set[str]) -> None:
    assert {module: used for module in of_room(room) if (used := libraries(module) & foreign)} == {}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("klsearch.vae", set()),
        ("klsearch.vae.hyperparameters", set()),
        ("klsearch.vae.diagnostics.curves", {"numpy"}),
        ("klsearch.vae.diagnostics.measures", {"numpy"}),
        ("klsearch.vae.diagnostics.gates", {"numpy"}),
        ("klsearch.vae.data.datasets", {"numpy", "PIL", "psutil"}),
    ],
)
def test_the_model_s_records_and_data_load_no_more_than_numpy(module: str, allowed: set[str]) -> None:
    assert loaded_with(module) - set(MODULES) - {"klsearch"} - sys.stdlib_module_names <= allowed


@pytest.mark.slow("starts a process for every module")
def test_definitions_and_reports_load_nothing_that_trains() -> None:
    heavy = {"keras", "optuna", "tensorflow"}
    assert {module: used for module in of_room("studies", "reports") if (used := loaded_with(module) & heavy)} == {}


def test_the_libraries_imported_are_those_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    required, optional = (
        {re.split(r"[\[>]", line)[0] for line in lines} for lines in (project["dependencies"], extras)
    )
    packages = set().union({"lazy_loader"}, *map(libraries, MODULES)) - {"klsearch"} - sys.stdlib_module_names
    providers = packages_distributions()
    imported = {providers[package][0].lower().replace("_", "-") for package in packages}
    assert imported - (optional - required) == required  # an extra may ask for more of what is required


def test_the_developers_lock_has_every_extra_but_that_of_cards_which_has_its_own() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (asked,) = re.findall(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"--extra (\S+)", asked)) == set(extras) - {"gpu"}
    locked = {
        name: dict(
            re.findall(r"^([\w.-]+)==(\S+)", (ROOT / f"requirements{name}.lock").read_text(), flags=re.MULTILINE)
        )
        for name in ("", "-dev", "-gpu")
    }
    assert not [package for package in locked["-dev"] if package.startswith("nvidia-")]
    assert "nvidia-cudnn-cu12" in locked["-gpu"]
    for name in ("", "-gpu"):
        shared = locked[name].keys() & locked["-dev"].keys()
        assert {package: locked[name][package] for package in shared} == {p: locked["-dev"][p] for p in shared}


def test_the_command_line_loads_nothing_slow_before_it_knows_the_command() -> None:
    assert loaded_with("klsearch.search.cli").isdisjoint(SLOW_TO_LOAD)


def run_cli(code: str, *arguments: str, folder: Path) -> None:
    """Run `code`, which calls the command line and asserts, in a new process."""
    called = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert called.returncode == 0, called.stderr


RUN = """
import sys
from klsearch.search.cli import main
assert main(sys.argv[1:]) == 0
"""

EVERY_HELP = f"""
import sys
from klsearch.search.cli import cli, main
assert main(["--help"]) == 0
assert all(main([command, "--help"]) == 0 for command in cli.commands)
assert set({SLOW_TO_LOAD}).isdisjoint(sys.modules)
"""


def test_every_help_text_loads_nothing_slow(tmp_path: Path) -> None:
    run_cli(EVERY_HELP, folder=tmp_path)


LIST = """
import sys
from klsearch.search.cli import main
assert main(["list"]) == 0
assert "scipy" not in sys.modules
"""


def test_the_list_of_studies_does_not_wait_for_scipy(tmp_path: Path) -> None:
    run_cli(LIST, folder=tmp_path)


TRAINS_NOTHING = """
import sys
from klsearch.search.cli import main
for command in sys.argv[1:]:
    assert main(command.split()) == 0, command
    assert {"keras", "tensorflow"}.isdisjoint(sys.modules), command
"""


@pytest.mark.slow("starts a process for every command")
def test_a_command_that_trains_nothing_leaves_tensorflow_unloaded(tmp_path: Path) -> None:
    small = ("--trials", "2", "--slots", "2", "--no-confirm", "--quiet")
    run_cli(RUN, "run", "digits", *small, "--out", "run", folder=tmp_path)
    commands = (
        "--version",
        "list",
        "init mine.toml",
        "check mine.toml",
        "status run",
        "best run --json",
        "trials run --csv",
        "report run",
        "compare run run",
        "doctor",
    )
    run_cli(TRAINS_NOTHING, *commands, folder=tmp_path)
