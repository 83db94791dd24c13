"""Any teacher's spec: a network whose features latents are aligned with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import Spec


class RunTeacher(Spec):
    """A network that was trained on the data itself: the run of a configuration with `features`."""

    type: Literal["run"] = "run"
    path: Path = Field(description="the run")


class DinoV2Teacher(Spec):
    """DINOv2 ViT-S/14 (arXiv 2304.07193): `anycodec weights get dinov2`; needs onnxruntime."""

    type: Literal["dinov2"] = "dinov2"


class OnnxTeacher(Spec):
    """An ONNX file whose first output is a map [N F h w] or tokens [N T F]; needs onnxruntime."""

    type: Literal["onnx"] = "onnx"
    path: Path = Field(description="the file; its input is RGB [N 3 H W], float32 in [0, 1] or uint8")


class HuggingFaceTeacher(Spec):
    """A vision model of the Hugging Face hub; needs transformers, and the hub or its cache."""

    type: Literal["huggingface"] = "huggingface"
    name: str = Field(min_length=1, description="of the model, e.g. facebook/dinov2-small")


TeacherSpec = Annotated[
    RunTeacher | DinoV2Teacher | OnnxTeacher | HuggingFaceTeacher, Field(discriminator="type")
]
