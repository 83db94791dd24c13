"""`anycodec sweep --engine ray`: the same table from trainings in actors, and what Ray lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anycodec.cli import app
from workflows.sweep_runs import give, lay_out, shown, sweep, table


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_out(tmp_path, monkeypatch)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = sweep("tiny.yaml", "--engine", "ray")
    assert refused.exit_code == 2
    assert "Ray is not installed" in shown(refused)
    assert "anycodec[ray]" in shown(refused)
    assert not Path("out").exists()


def test_an_address_is_for_ray() -> None:
    refused = sweep("tiny.yaml", "--address", "auto")
    assert refused.exit_code == 2
    assert "only Ray has an address" in shown(refused)


@pytest.mark.timeout(900)
def test_runs_in_actors_crash_die_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in slots of this machine: three runs two at a time, of which one crashes and one is killed."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    try:
        ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # Ray's own patience is 15 to 30 seconds
        pytest.skip(f"Ray does not start on this machine: {error}")
    try:
        grid = ("--grid", "codec.latent_channels=8,9,10", "--slots", 2)
        names = [f"tiny-latent_channels_{value}" for value in (8, 9, 10)]
        give(**{names[1]: "crash", names[2]: "die done"})
        done = sweep("tiny.yaml", *grid, "--engine", "ray")
        assert done.exit_code == 2, done.output
        rows = table()
        assert [rows[name]["state"] for name in names] == ["done", "failed", "done"]
        assert [rows[name]["attempts"] for name in names] == ["1", "2", "2"]
        assert rows[names[1]]["note"] == "it does not work"
        give(**{names[1]: "done"})
        again = CliRunner().invoke(app, ["sweep", "--resume", "--out", "out", "--engine", "ray"])
        assert again.exit_code == 0, again.output
        assert [table()[name]["state"] for name in names] == ["done"] * 3
        refused = CliRunner().invoke(
            app, ["sweep", "--resume", "--out", "out", "--engine", "ray", "--gpus", "0"]
        )
        assert "whichever it is" in shown(refused)
    finally:
        ray.shutdown()
