"""Paths that are URLs."""

from pathlib import Path

import pytest

from anycodec.config.data import Pod5Source
from anycodec.urls import has_credentials, inside, url_of


@pytest.mark.parametrize(
    "url", ["s3://bucket/reads", "gs://b/*.pod5", "file:///data/x", "memory://a", "http://127.0.0.1:80/x.csv"]
)
def test_a_path_keeps_its_url(url: str) -> None:
    assert url_of(Path(url)) == url
    assert url_of(Path(url) / "a.pod5") == f"{url}/a.pod5"
    assert url_of(Path(str(Path(url)))) == url


@pytest.mark.parametrize("path", ["/data/reads", "reads", "C:/reads", "a:b", "reads/s3:x"])
def test_paths_are_no_urls(path: str) -> None:
    assert url_of(Path(path)) is None


def test_a_configuration_stores_the_url() -> None:
    source = Pod5Source(root=Path("s3://bucket/reads"))
    assert source.model_dump(mode="json")["root"] == "s3://bucket/reads"
    assert Pod5Source.model_validate(source.model_dump(mode="json")) == source
    assert Pod5Source(root=Path("/data")).model_dump(mode="json")["root"] == "/data"
    assert Pod5Source().model_dump(mode="json")["root"] is None


def test_copies_stay_in_their_folder() -> None:
    assert str(inside(Path("s3://bucket/../../etc/passwd"))) == "s3/bucket/etc/passwd"
    assert str(inside(Path("file:///data/a"))) == "file/data/a"


@pytest.mark.parametrize(("url", "secret"), [("s3://key:word@bucket/a", True), ("s3://bucket/a:b@c", False)])
def test_passwords_in_urls_are_seen(url: str, secret: bool) -> None:
    assert has_credentials(url) is secret
