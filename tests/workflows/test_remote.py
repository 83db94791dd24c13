"""Data behind URLs: an object store and a web server on loopback, and fsspec's files in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest

from anycodec.config.data import TableSource
from anycodec.config.loader import load_spec
from anycodec.data.loader import open_data
from anycodec.errors import ConfigError, DataError, ResourceError, UserError
from anycodec.io import fetched, remote
from anycodec.io.discover import discover, label_of
from anycodec.io.fetched import copy_of, local_copy
from anycodec.io.formats import open_file
from anycodec.workflows.inputs import find_files, refuse_urls

CONFIG = """\
data: {type: table, sample_rate: 1, window: {samples: 32}, workers: 0}
codec: {type: simvqgan, base_channels: 4, channels: [4], strides: [2], stem_stride: 2, norm_groups: 2}
train: {steps: 1}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(fetched, "_checked", set())
    remote.is_file.cache_clear()
    remote._SIZES.clear()
    return tmp_path / "cache" / "remote"


def table(rows: int = 200, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).normal(size=(rows, 2))
    return b"a,b\n" + b"".join(b"%.4f,%.4f\n" % tuple(row) for row in values)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """`memory://data`: three tables, one in a folder of its class, and a file of another kind."""
    system = fsspec.filesystem("memory")
    for number, name in enumerate(("a.csv", "b.csv", "ID_1/c.csv")):
        system.pipe(f"/data/{name}", table(seed=number))
    system.pipe("/data/notes.txt", b"x")
    yield system
    system.rm("/data", recursive=True)


# --- listing and training -------------------------------------------------------------------------------


def test_a_training_reads_what_a_folder_would_give(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    for name in memory.find("/data"):
        target = tmp_path / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(memory.cat(name))
    here = open_data(load_spec(tmp_path / "tiny.yaml", [f"data.root={tmp_path}/data"]))
    there = open_data(load_spec(tmp_path / "tiny.yaml", ["data.root=memory://data"]))
    assert here.fingerprint == there.fingerprint
    assert here.counts == there.counts
    assert len(here.train) == len(there.train)
    np.testing.assert_array_equal(here.train.item(1, 2), there.train.item(1, 2))


def test_patterns_and_single_files(memory: fsspec.AbstractFileSystem) -> None:
    source = TableSource()
    names = [path.name for path in discover(Path("memory://data/*.csv"), source).files]
    assert names == ["a.csv", "b.csv"]
    assert [path.name for path in discover(Path("memory://data/a.csv"), source).files] == ["a.csv"]
    found = discover(Path("memory://data"), source)
    assert [path.name for path in found.files] == ["c.csv", "a.csv", "b.csv"]
    assert [item.reason for item in found.skipped] == ["not one of .csv, .tsv, .parquet, .pq"]


def test_files_on_the_command_line_are_fetched_with_their_folders(
    memory: fsspec.AbstractFileSystem, cache: Path
) -> None:
    files, _ = find_files([Path("memory://data")], TableSource())
    assert sorted(str(inside) for inside in files.values()) == ["ID_1/c.csv", "a.csv", "b.csv"]
    assert all(path.is_relative_to(cache) and path.is_file() for path in files)


# --- the cache ------------------------------------------------------------------------------------------


def test_a_copy_is_used_again_and_renewed_when_the_file_changes(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("memory://data/a.csv")
    pieces: list[int] = []
    whole = remote.piece
    monkeypatch.setattr(fetched, "piece", lambda *where: pieces.append(where[1]) or whole(*where))
    monkeypatch.setattr(fetched, "PIECE", 1000)
    first = local_copy(path)
    assert first.read_bytes() == table()
    assert pieces == list(range(0, len(table()), 1000))
    fetched._checked.clear()  # as in another process
    assert local_copy(path) == first
    assert len(pieces) == len(range(0, len(table()), 1000))
    memory.pipe("/data/a.csv", table(50, seed=9))
    fetched._checked.clear()
    assert local_copy(path).read_bytes() == table(50, seed=9)


def test_a_fetch_goes_on_where_it_was_killed(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole, begun = Path("memory://data/a.csv"), remote.piece, []
    monkeypatch.setattr(fetched, "PIECE", 1000)

    def dying(file: Path, start: int, stop: int) -> bytes:
        begun.append(start)
        if start == 2000 and begun.count(2000) == 1:
            raise KeyboardInterrupt
        return whole(file, start, stop)

    monkeypatch.setattr(fetched, "piece", dying)
    with pytest.raises(KeyboardInterrupt):
        local_copy(path)
    assert not copy_of(path).exists()
    assert local_copy(path).read_bytes() == table()
    assert begun[:4] == [0, 1000, 2000, 2000]


def test_the_copies_used_longest_ago_make_room(memory: fsspec.AbstractFileSystem) -> None:
    size = len(memory.cat("/data/a.csv"))
    limit = 2.5 * size / 1e9
    copies = []
    for number, name in enumerate(("a.csv", "b.csv", "ID_1/c.csv")):
        copies.append(local_copy(Path(f"memory://data/{name}"), limit))
        os.utime(copies[-1], (number, number))
    assert [copy.exists() for copy in copies] == [False, True, True]
    with pytest.raises(ResourceError, match=r"data\.cache_limit_gb"):
        local_copy(Path("memory://data/a.csv"), size / 2e9)


def test_local_files_need_no_network_whatever_a_run_was_trained_on(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(table())
    source = TableSource(root=Path("nowhere://bucket/x"))
    with open_file(tmp_path / "a.csv", source) as reader:
        assert reader.info.n_signals == 1
    assert label_of(tmp_path / "a.csv", source.root) is None


# --- what goes wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nothing", "nothing is there"),
        ("nowhere://x/y", "unknown protocol nowhere://"),
        ("sftp://host/x", "pip install paramiko"),
    ],
)
def test_what_is_not_there_is_named(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        discover(Path(url), TableSource())


def test_nothing_is_written_beside_a_url() -> None:
    with pytest.raises(UserError, match="give a folder with -o"):
        refuse_urls([Path("memory://data/a.csv")], "files")


def test_a_password_in_the_url_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match="holds a password") as caught:
        load_spec(tmp_path / "tiny.yaml", ["data.root=s3://key:hidden@bucket/x"])
    assert "hidden" not in caught.value.mistakes[0].what


class Flaky(SimpleHTTPRequestHandler):
    """Serves ranges of a folder; fails as often as `failures` says, or for ever where it is negative."""

    failures = 0

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        content = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        if "Range" not in self.headers:
            return super().do_GET()
        if Flaky.failures:
            Flaky.failures -= 1
            self.connection.close()
            return None
        start, stop = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[start : stop + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.csv").write_bytes(table())
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: Flaky(*given, directory=str(tmp_path / "web"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/a.csv"
    server.shutdown()
    server.server_close()


def test_a_network_that_fails_now_and_then_is_asked_again(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "PIECE", 1000)
    monkeypatch.setattr(Flaky, "failures", 2)
    assert local_copy(Path(web)).read_bytes() == table()


def test_a_network_that_stays_away_is_named(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flaky, "failures", -1)
    with pytest.raises(DataError, match=f"after {remote.ATTEMPTS} attempts"):
        local_copy(Path(web))


# --- an object store ------------------------------------------------------------------------------------


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    host = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    host.start()
    _, port = host.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    system = fsspec.filesystem("s3")
    system.makedirs("bucket", exist_ok=True)
    for number, name in enumerate(("a.csv", "ID_1/b.csv")):
        system.pipe(f"bucket/data/{name}", table(seed=number))
    yield system
    fsspec.filesystem("s3").clear_instance_cache()
    host.stop()


def test_an_object_store(store: fsspec.AbstractFileSystem, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    data = open_data(load_spec(tmp_path / "tiny.yaml", ["data.root=s3://bucket/data"]))
    assert data.counts["files"] == 2
    assert (cache / "s3" / "bucket" / "data" / "ID_1" / "b.csv").read_bytes() == table(seed=1)
    with pytest.raises(DataError, match="nothing is there"):
        discover(Path("s3://bucket/other"), TableSource())
    store.pipe("bucket/data/a.csv", table(50, seed=9))
    fetched._checked.clear()
    assert local_copy(Path("s3://bucket/data/a.csv")).read_bytes() == table(50, seed=9)


def test_missing_credentials_are_named(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store.clear_instance_cache()
    with pytest.raises(DataError, match=r"no access: [\s\S]*AWS_ACCESS_KEY_ID"):
        remote.described(Path("s3://bucket/data/a.csv"))
