"""Code of the user's own, found by its name, and its errors in one line."""

from pathlib import Path

import pytest

from klsearch.vae.host.own_code import CodeProblem, is_function, load_function, load_object, one_line

pytestmark = pytest.mark.usefixtures("own_search_path")


@pytest.mark.parametrize("source", ["my_data:load", "package.my_data:load", "my data.py:load", "models/vae.py:VAE"])
def test_a_function_is_named_by_its_module_or_file(source: str) -> None:
    assert is_function(source)


@pytest.mark.parametrize("source", ["rows.npy", "digits", "vae.keras", "C:/rows.csv", "my_data:load()", "a:b:c"])
def test_a_file_or_a_built_in_name_is_no_function(source: str) -> None:
    assert not is_function(source)


def test_a_module_may_lie_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "loader_package").mkdir()
    (tmp_path / "loader_package" / "__init__.py").write_text("")
    (tmp_path / "loader_package" / "train.py").write_text("def rows(): return [[1, 2], [3, 4]]\n")
    assert load_function("loader_package.train:rows", tmp_path)() == [[1, 2], [3, 4]]


def test_what_a_file_holds_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "loader_file.py").write_text("SIZE = 3\n")
    assert load_object("models/loader_file.py:SIZE", tmp_path) == 3
    with pytest.raises(CodeProblem, match=r"no file .*models/loader_lost\.py$"):
        load_object("models/loader_lost.py:SIZE", tmp_path)


def test_a_file_that_python_knows_another_module_by_the_name_of_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("SIZE = 3\n")
    with pytest.raises(CodeProblem, match=r"Python finds .*json/__init__\.py by that name; call the file "):
        load_object("json.py:SIZE", tmp_path)


def test_a_module_that_cannot_be_imported_shows_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "loader_bad.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "loader_syntax.py").write_text("x = = 1\n")
    (tmp_path / "loader_needs.py").write_text("import surely_not_installed\n")
    for module, expected in (
        ("loader_bad", r"ZeroDivisionError: division by zero \(.*loader_bad\.py:2\)"),
        ("loader_syntax", r"SyntaxError: invalid syntax \(.*loader_syntax\.py:1\)"),
        ("loader_needs", r"No module named 'surely_not_installed' \(.*loader_needs\.py:1\)"),
    ):
        with pytest.raises(CodeProblem, match=expected):
            load_function(f"{module}:rows", tmp_path)


def test_a_module_or_function_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeProblem, match="no module 'loader_nowhere' in"):
        load_function("loader_nowhere:rows", tmp_path)
    (tmp_path / "loader_empty.py").write_text("rows = 3\n")
    with pytest.raises(CodeProblem, match=r"loader_empty:rows: is no function, but of type int$"):
        load_function("loader_empty:rows", tmp_path)


def test_a_name_that_a_module_lacks_is_refused_with_one_that_is_near(tmp_path: Path) -> None:
    (tmp_path / "loader_named.py").write_text("def load(): pass\n")
    with pytest.raises(CodeProblem, match=r"loader_named\.py has no 'laod', did you mean 'load'\?$"):
        load_object("loader_named:laod", tmp_path)


def test_an_error_is_one_line_whatever_its_text() -> None:
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
