"""A job of any kind, as the process at a place does it."""

from __future__ import annotations

from anycodec.engine import FeaturesJob, GeneratorJob, TrainingJob
from anycodec.torch.parallel.place import Place
from anycodec.torch.training import features, generation, loop


def work(job: TrainingJob | GeneratorJob | FeaturesJob, place: Place) -> None:
    """Train together with the other processes, which are there already."""
    match job:
        case TrainingJob():
            loop.train_here(job, place)
        case GeneratorJob():
            generation.train_here(job, place)
        case FeaturesJob():
            features.train_here(job, place)
