"""A search for the best settings: Optuna proposes runs from what earlier ones gave.

Trials are kept in a journal file. What counts is the state of the sweep: trials that it does not know, and
those of which it knows more than the journal, are brought in line when the sweep goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anycodec.atomic import atomic_write
from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import dump_spec
from anycodec.config.metrics import better
from anycodec.errors import ConfigError, MissingExtra
from anycodec.workflows.sweeps.folder import SweepFolder
from anycodec.workflows.sweeps.follow import Follower
from anycodec.workflows.sweeps.plan import Mistakes, Variant, Wanted, make_variant
from anycodec.workflows.sweeps.ranges import Choices, Searched
from anycodec.workflows.sweeps.state import Job, JobState, SweepState, digest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution


class OptunaSearch:
    """Asks Optuna's sampler (TPE: Bergstra et al., 2011) for trials, each a run of the sweep.

    Args:
        folder: of the sweep.
        state: of the sweep; runs are added to it.
        ranges: what the search may choose.
        wanted: what each run must be able to do.

    Raises:
        MissingExtra: Optuna is not installed.
    """

    def __init__(
        self, folder: SweepFolder, state: SweepState, ranges: Sequence[Searched], wanted: Wanted
    ) -> None:
        self._folder, self._state, self._ranges, self._wanted = folder, state, ranges, wanted
        self._study = _open_study(folder, state)
        self._reconcile()

    def ask(self) -> Job | None:
        """A new run, None where all trials are there; settings that no run can have use up a trial."""
        while len(self._state.jobs) < self._state.trials:
            trial = self._study.ask(_distributions(self._ranges))
            job = self._make(trial.number, trial.params)
            self._state.jobs.append(job)
            if job.state is JobState.WAITING:
                return job
            self.tell(job)
        return None

    def tell(self, job: Job) -> None:
        """Report a run that is done or has failed."""
        from optuna.trial import TrialState

        metric = self._state.metric
        best = Follower(RunDirectory(self._folder.run(job.name)).metrics, metric).update().best(metric)
        if job.state is JobState.DONE and best is not None:
            self._study.tell(job.trial, best[0], skip_if_finished=True)
        else:
            self._study.tell(job.trial, state=TrialState.FAIL, skip_if_finished=True)

    def _make(self, number: int, chosen: Mapping[str, Any]) -> Job:
        settings = {one.key: one.text(chosen[one.key]) for one in self._ranges}
        name = f"trial-{number:03d}"
        try:
            variant = make_variant(self._folder.base, [], name, settings, self._wanted)
        except ConfigError as error:
            note = error.mistakes[0].what
            return Job(
                name=name, settings=settings, digest="", state=JobState.FAILED, trial=number, note=note
            )
        text = dump_spec(variant.spec)
        atomic_write(self._folder.config(name), text)
        return Job(name=name, settings=settings, digest=digest(text), trial=number)

    def _reconcile(self) -> None:
        """Bring the journal in line with the state."""
        from optuna.trial import TrialState

        known = {job.trial: job for job in self._state.jobs}
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            job = known.get(trial.number)
            if job is None:
                self._study.tell(trial.number, state=TrialState.FAIL)
            elif job.state in (JobState.DONE, JobState.FAILED):
                self.tell(job)


def require_optuna() -> None:
    """Go on only where Optuna is installed.

    Raises:
        MissingExtra: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Optuna", "sweep") from error


def base_variant(
    config: Path, overrides: Sequence[str], ranges: Sequence[Searched], wanted: Wanted
) -> Variant:
    """What a search varies, after a look at the ends of its ranges, one setting at a time.

    Raises:
        ConfigError: mistakes in the configuration, or at an end of a range.
    """
    mistakes = Mistakes()
    middle = {one.key: one.extremes()[0] for one in ranges}
    for one in ranges:
        for value in one.extremes():
            try:
                make_variant(config, overrides, "search", {**middle, one.key: value}, wanted)
            except ConfigError as error:
                mistakes.add(f"{one.key}={value}", error.mistakes)
    mistakes.check()
    return make_variant(config, overrides, "search", {}, wanted)


def _open_study(folder: SweepFolder, state: SweepState) -> Study:
    """The study of the journal file, a new one where there is none."""
    require_optuna()
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder.journal))),
        sampler=optuna.samplers.TPESampler(seed=len(state.jobs), constant_liar=True),
        study_name="sweep",
        direction="maximize" if better(state.metric) == "max" else "minimize",
        load_if_exists=True,
    )


def _distributions(ranges: Sequence[Searched]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for one in ranges:
        if isinstance(one, Choices):
            found[one.key] = CategoricalDistribution(one.values)
        elif one.whole:
            found[one.key] = IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[one.key] = FloatDistribution(one.low, one.high, log=one.log)
    return found
