"""What users are told of their own model and training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from klsearch.search.cli import main

RECORDED = Path(__file__).parents[2] / "vae" / "diagnostics" / "histories"


def test_a_history_is_diagnosed_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    history = str(RECORDED / "healthy_sum_8.csv")
    assert main(["diagnose", history, "--latent-dim", "8"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Healthy\n  KL is settled")
    assert "\nNext: " in text
    assert main(["diagnose", history, "--latent-dim", "8", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "healthy"
    assert document["numbers"]["kl_per_latent"] == pytest.approx(0.64, abs=0.01)
    assert {"schema_version", "reasons", "next"} <= document.keys()


def test_a_diverged_history_is_still_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(RECORDED / "diverged_sum_8.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "diverged"


@pytest.mark.parametrize("arguments", [["missing.csv"], ["losses.csv"], ["losses.csv", "--kl-reduction", "sum"]])
def test_what_cannot_be_diagnosed_exits_with_2_and_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("losses.csv").write_text("epoch,loss\n0,1\n", encoding="utf-8")
    assert main(["diagnose", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["diagnose", *arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_diagnose_loads_no_tensorflow() -> None:
    code = (
        "import sys; from klsearch.search.cli import main; assert main(sys.argv[1:]) == 0; "
        "assert {'keras', 'tensorflow', 'optuna'}.isdisjoint(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "diagnose", str(RECORDED / "short_sum_8.csv")], check=True)
