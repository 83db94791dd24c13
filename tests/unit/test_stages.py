"""Pipelines of small stages: what runs again, what is kept, what is continued."""

import json

import pytest

from anycodec.errors import UserError
from anycodec.workflows.stages import STATE, Stage, files_fingerprint, fingerprint, run_stages


class Pipeline:
    """Three stages that count their runs: `a` writes its setting, `b` copies a's file, `c` both."""

    def __init__(self, folder):
        self.folder, self.log, self.fail = folder, [], None
        self.settings = {"a": 1, "b": 1, "c": 1}

    def stages(self):
        return [Stage(name, self.settings[name], self._run(name), _output) for name in self.settings]

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
    stages[1] = Stage("b", "said otherwise", stages[1].run, stages[1].output)
    pipeline.log.clear()
    run_stages(pipeline.folder, stages)
    assert pipeline.log == ["b"]


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
