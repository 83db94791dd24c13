"""The networks that latents are aligned with."""

from __future__ import annotations

from pathlib import Path

from anycodec.checkpoint import RunDirectory
from anycodec.config.data import DataSpec, FixedSpec, ImageSource, VideoSource
from anycodec.config.kinds import FEATURES
from anycodec.config.run import RunSpec, window_shape
from anycodec.config.teacher import DinoV2Teacher, HuggingFaceTeacher, OnnxTeacher, RunTeacher
from anycodec.engine import FeatureMaps, FeaturesRuntime, get_engine
from anycodec.errors import RunError
from anycodec.metrics.onnx_maps import DinoMaps, FileMaps, PictureMaps


def open_teacher(spec: RunSpec, in_channels: int) -> FeatureMaps | None:
    """What `spec.alignment` aligns latents with, None without it.

    Args:
        spec: the codec's training.
        in_channels: C of its windows.

    Raises:
        MissingExtra: the library that runs the network is not installed.
        WeightsError: the network is not there or unusable.
        RunError: the run is none of features, unfinished, or was trained on other windows.
    """
    if spec.alignment is None:
        return None
    device = spec.train.device
    match spec.alignment.teacher:
        case DinoV2Teacher():
            return PictureMaps(DinoMaps())
        case OnnxTeacher(path=path):
            return PictureMaps(FileMaps(path))
        case HuggingFaceTeacher(name=name):
            return get_engine("torch").hub_features(name, device)
        case RunTeacher(path=path):
            features = open_features(path, device)
            _check_windows(path, spec.data, in_channels)
            return features


def open_features(path: Path, device: str = "auto") -> FeaturesRuntime:
    """The feature network of a run.

    Raises:
        RunError: not a run of features, or an unfinished one.
    """
    run = RunDirectory(path)
    spec, manifest = run.spec_of(FEATURES), run.read_manifest()
    if not run.weights.is_file():
        raise RunError(
            "the feature network has no weights yet",
            where=str(path),
            how="finish its training first: anycodec train CONFIG --out RUN --resume",
        )
    shape = (int(manifest["in_channels"]), *window_shape(spec.data))
    return get_engine("torch").load_features(spec, shape, len(manifest["classes"]), run.weights, device)


def _check_windows(path: Path, data: DataSpec, in_channels: int) -> None:
    """Refuse a teacher that was trained on windows of another kind."""
    run = RunDirectory(path)
    theirs = run.spec_of(FEATURES).data
    channels = run.read_manifest()["in_channels"]
    wrong = []
    if isinstance(data, ImageSource | VideoSource) != isinstance(theirs, ImageSource | VideoSource):
        wrong.append(f"data of type {data.type} here, {theirs.type} there")
    if channels != in_channels:
        wrong.append(f"windows have {in_channels} channels here, {channels} there")
    if isinstance(data.normalizer, FixedSpec) and data.normalizer != theirs.normalizer:
        wrong.append(f"data.normalizer is {data.normalizer!r} here, {theirs.normalizer!r} there")
    if wrong:
        raise RunError(
            "the feature network was trained on other windows: " + "; ".join(wrong),
            where=str(path),
            how="train it with the same data section: anycodec train configs/features-gait.yaml",
        )
