"""Figures of pictures that need a network, for `anycodec evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from anycodec.engine import LpipsNet, get_engine
from anycodec.errors import RunError
from anycodec.metrics.features import FeatureDistances, FeatureNetwork
from anycodec.metrics.perceptual import PerceptualMetric
from anycodec.workflows.measure import PictureMetric
from anycodec.workflows.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class PictureMetrics:
    """What somebody asked for, with the name of the network of FID and KID, "" without them."""

    metrics: tuple[PictureMetric, ...] = ()
    features: str = ""


def picture_metrics(
    pipeline: Pipeline, features: str | None, lpips: LpipsNet | None, device: str
) -> PictureMetrics:
    """FID and KID in the features of a network, LPIPS with another; None = not this one.

    Raises:
        RunError: the run codes no pictures.
        WeightsError, MissingExtra: a network can't be used.
    """
    if (features or lpips) and pipeline.spec.data.type not in ("image", "video"):
        raise RunError(
            f"LPIPS, FID and KID compare pictures, and this run codes {pipeline.spec.data.type} data",
            where=str(pipeline.run.path),
            how="leave out --lpips and --features",
        )
    metrics: list[PictureMetric] = []
    if lpips:
        metrics.append(PerceptualMetric(lpips, get_engine("torch").lpips(lpips, device)))
    if not features:
        return PictureMetrics(tuple(metrics))
    network = _feature_network(features, device)
    return PictureMetrics((*metrics, FeatureDistances(network)), network.name)


def _feature_network(name: str, device: str) -> FeatureNetwork:
    if name == "efficientnet-lite0":
        from anycodec.metrics.efficientnet import EfficientNetLite0

        return EfficientNetLite0(get_engine("torch").picture_features("efficientnet-lite0", device))
    from anycodec.metrics.onnx import open_network

    return open_network(name)
