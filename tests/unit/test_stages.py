"""Pipelines of small stages: what runs again, what is kept, what is continued."""

import json
from dataclasses import replace

import pytest

from anycodec.errors import UserError
from anycodec.workflows.stages import STATE, Stage, files_fingerprint, fingerprint, run_stages


class Pipeline:
    """Three stages that count their runs: `a` writes its setting, `b` copies a's file, `c` both."""

    def __init__(self, folder):
        self.folder, self.log, self.fail = folder, [], None
        self.settings, self.threads = {"a": 1, "b": 1, "c": 1}, 1

    def stages(self):
        return [
            Stage(
                name,
                {name: {"value": value, "threads": self.threads}},
                self._run(name),
                _output,
                without_effect=lambda key: key.endswith(".threads"),
                keep=name == "b",
            )
            for name, value in self.settings.items()
        ]

    def _run(self, name):
        def run(folder, resume):
            self.log.append(name + ("+" if resume else ""))
            (folder / "begun").write_text("")
            if self.fail == name:
                raise KeyboardInterrupt
            (folder / "result").write_text(f"{self.settings[name]}")

        return run

    def __call__(self, **options):
        self.log.clear()
        run_stages(self.folder, self.stages(), **options)
        return "".join(self.log)


def _output(folder):
    return files_fingerprint(folder, "result")


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path / "out")


def test_everything_runs_once(pipeline):
    assert pipeline() == "abc"
    assert pipeline() == ""
    state = json.loads((pipeline.folder / STATE).read_text())
    assert list(state["stages"]) == ["a", "b", "c"]
    assert all(record["output"] for record in state["stages"].values())


def test_a_changed_setting_runs_its_stage_and_those_after_it(pipeline):
    pipeline()
    pipeline.settings["b"] = 2
    assert pipeline() == "bc"
    assert (pipeline.folder / "b" / "result").read_text() == "2"


def test_a_stage_that_gives_the_same_again_spares_those_after_it(pipeline):
    pipeline()
    stages = pipeline.stages()
    stages[1] = replace(stages[1], settings={"b": {"value": "said otherwise"}})
    pipeline.log.clear()
    run_stages(pipeline.folder, stages)
    assert pipeline.log == ["b"]


def test_settings_without_effect_change_nothing(pipeline):
    pipeline()
    pipeline.threads = 8
    assert pipeline() == ""
    pipeline.fail, pipeline.settings["b"] = "b", 2
    with pytest.raises(KeyboardInterrupt):
        pipeline()
    pipeline.fail, pipeline.threads = None, 2
    assert pipeline() == "b+c"


def test_it_says_what_changed_before_it_runs_again(pipeline, capsys):
    pipeline()
    capsys.readouterr()
    pipeline.settings["b"] = "x" * 99
    pipeline()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[1/3] a: unchanged")
    assert said[1:3] == ["[2/3] b", f"  again: b.value was 1, now {'x' * 57}..."]
    assert said[-2:] == ["[3/3] c", "  again: the result of b has changed"]
    (pipeline.folder / "c" / "result").unlink()
    pipeline()
    assert "  again: its result was removed, or changed by other hands" in capsys.readouterr().out


def test_of_many_changes_the_first_are_named(tmp_path, capsys):
    for value in range(2):
        settings = {f"k{number}": value for number in range(8)}
        stage = Stage("a", settings, lambda folder, _: (folder / "result").touch(), _output)
        run_stages(tmp_path, [stage])
    said = capsys.readouterr().out
    assert "k4 was 0, now 1" in said
    assert "k5" not in said
    assert "  again: 3 more settings" in said


def test_a_finished_result_to_keep_is_moved_aside_once(pipeline, capsys):
    pipeline()
    for value in (2, 3):
        pipeline.settings["b"] = value
        assert pipeline() == "bc"
    assert (pipeline.folder / "b.previous" / "result").read_text() == "2"
    assert "b.previous" in "".join(capsys.readouterr().out.split())
    assert not (pipeline.folder / "c.previous").exists()

    pipeline.fail, pipeline.settings["b"] = "b", 4
    with pytest.raises(KeyboardInterrupt):
        pipeline()
    pipeline.fail, pipeline.settings["b"] = None, 5
    pipeline()  # what stopped at 4 replaces nothing
    assert (pipeline.folder / "b.previous" / "result").read_text() == "3"
    pipeline(force=True)
    assert (pipeline.folder / "b.previous" / "result").read_text() == "5"


def test_a_training_that_ended_unnoticed_is_not_moved_aside(pipeline):
    pipeline()
    state = json.loads((pipeline.folder / STATE).read_text())
    state["stages"]["b"]["output"] = None  # killed before it was written down
    (pipeline.folder / STATE).write_text(json.dumps(state))
    assert pipeline() == "b+"
    assert not (pipeline.folder / "b.previous").exists()


def test_a_state_of_an_earlier_version_spares_what_it_knows(pipeline, capsys):
    """It had a fingerprint of all settings, those without effect among them, and not the settings."""
    pipeline()
    state, before = json.loads((pipeline.folder / STATE).read_text()), {}
    for name, record in state["stages"].items():
        old = fingerprint([{"value": 1, "threads": 1}, before])
        before[name] = record["output"]
        state["stages"][name] = {"inputs": old, "output": record["output"], "seconds": 7.0}
    (pipeline.folder / STATE).write_text(json.dumps(state))
    assert pipeline() == ""
    assert "7 s saved" in capsys.readouterr().out
    pipeline.threads = 4  # by now it is known that they don't count
    assert pipeline() == ""

    state["stages"]["b"]["inputs"] = "another"
    (pipeline.folder / STATE).write_text(json.dumps(state))
    pipeline.threads = 1
    assert pipeline() == "b"
    assert "which one was not written down" in capsys.readouterr().out


def test_a_stage_that_stopped_goes_on_and_others_stay(pipeline):
    pipeline.fail = "b"
    with pytest.raises(KeyboardInterrupt):
        pipeline()
    pipeline.fail = None
    assert pipeline() == "b+c"


def test_a_stage_that_stopped_with_other_settings_starts_afresh(pipeline):
    pipeline.fail = "b"
    with pytest.raises(KeyboardInterrupt):
        pipeline()
    (pipeline.folder / "b" / "left").write_text("")
    pipeline.fail, pipeline.settings["b"] = None, 5
    assert pipeline() == "bc"
    assert not (pipeline.folder / "b" / "left").exists()


def test_a_result_that_was_changed_or_lost_is_made_again(pipeline):
    pipeline()
    (pipeline.folder / "b" / "result").write_text("tampered")
    assert pipeline() == "b"
    (pipeline.folder / "c" / "result").unlink()
    assert pipeline() == "c"


def test_force_runs_all_but_what_is_skipped(pipeline):
    pipeline()
    assert pipeline(force=True, skip=("a",)) == "bc"


def test_a_skipped_stage_is_taken_as_it_is_and_must_be_there(pipeline):
    with pytest.raises(UserError, match=r"no finished result of the stage a") as caught:
        pipeline(skip=("a",))
    assert "--skip-a" in caught.value.render()
    pipeline()
    pipeline.settings["a"] = 9
    assert pipeline(skip=("a",)) == ""
    (pipeline.folder / "a" / "result").write_text("my own")
    assert pipeline(skip=("a",)) == "bc"


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": "anycodec stages", "version": 2}', '{"stages": {"a": {"x": 1}}}']
)
def test_a_damaged_state_is_named(pipeline, content):
    pipeline.folder.mkdir()
    (pipeline.folder / STATE).write_text(content)
    with pytest.raises(UserError, match="state of this pipeline is damaged"):
        pipeline()


def test_fingerprints(tmp_path):
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
    assert files_fingerprint(tmp_path) is None
    (tmp_path / "x").write_text("1")
    one = files_fingerprint(tmp_path)
    (tmp_path / "x").write_text("2")
    assert files_fingerprint(tmp_path) not in (None, one)
