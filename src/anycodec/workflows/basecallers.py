"""Who calls the bases: the network of ours, or a program of the user's. Calls are kept and not made twice."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from anycodec.atomic import atomic_path
from anycodec.cache import cache_folder, require_weights
from anycodec.engine import BasecallerName, get_engine
from anycodec.errors import UserError
from anycodec.io.pod5_adc import adc_reads
from anycodec.metrics.bases import BEAM, decode_ctc
from anycodec.workflows.progress import track
from anycodec.workflows.sequences import read_sequences

PLACEHOLDER = "{pod5}"
LAST_LINES = 8
"""Lines of a failing program's complaint that are shown."""

Calls = dict[str, str]
"""Bases by read id."""


class Basecaller(Protocol):
    """Calls the reads of a POD5 file.

    Attributes:
        name: as results show it.
    """

    name: str

    def calls(self, pod5: Path, wanted: Collection[str]) -> Calls:
        """Bases of the wanted reads; one that got none may be left out.

        Raises:
            DataError: not a usable POD5 file.
            UserError: the program failed.
        """


class NetworkCaller:
    """A published network, run by the torch engine.

    Args:
        name: which.
        device: where to compute.

    Raises:
        WeightsError: its weights are not on this machine.
    """

    def __init__(self, name: BasecallerName, device: str) -> None:
        self.name: str = name
        self._probabilities = get_engine("torch").basecaller(name, device)
        with require_weights(name).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        self._identity = f"{name} {weights} {device} beam {BEAM}"

    def calls(self, pod5: Path, wanted: Collection[str]) -> Calls:
        """Bases of the wanted reads; each is kept as soon as it is called."""
        store = _store(self._identity, pod5)
        calls = _stored(store)
        missing = set(wanted) - calls.keys()
        if missing:
            with store.open("a", encoding="utf-8") as file:
                reads = (read for read in adc_reads(pod5) if read.id in missing)
                for read in track(reads, len(missing), f"calling {pod5.name}"):
                    calls[read.id] = decode_ctc(self._probabilities(read.picoamperes))
                    _append(file, read.id, calls[read.id])
        return {read: bases for read, bases in calls.items() if read in wanted}


class CommandCaller:
    """A program that gets the path of a POD5 file and prints FASTQ, FASTA or SAM.

    Args:
        template: the command with {pod5} where the path belongs; run without a shell.

    Raises:
        UserError: no command, or no {pod5} in it.
    """

    def __init__(self, template: str) -> None:
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise UserError(f"not a command: {error}", where=template) from error
        if not any(PLACEHOLDER in word for word in self._words):
            raise UserError(
                f"the command does not say where the POD5 file belongs ({PLACEHOLDER} is missing)",
                where=template,
                how=f"for example --command 'dorado basecaller --emit-fastq MODEL {PLACEHOLDER}'",
            )
        self.name = Path(self._words[0]).name
        self._identity = shlex.join(self._words)

    def calls(self, pod5: Path, wanted: Collection[str]) -> Calls:
        """Bases of the wanted reads; kept when the program has ended well."""
        store = _store(self._identity, pod5)
        if not store.is_file():
            calls = self._run(pod5)
            with atomic_path(store) as temporary, temporary.open("w", encoding="utf-8") as file:
                for read, bases in calls.items():
                    _append(file, read, bases)
        return {read: bases for read, bases in _stored(store).items() if read in wanted}

    def _run(self, pod5: Path) -> Calls:
        words = [word.replace(PLACEHOLDER, str(pod5.resolve())) for word in self._words]
        with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+") as complaint:
            try:
                done = subprocess.run(words, stdout=out, stderr=complaint, check=False)
            except OSError as error:
                raise UserError(f"{words[0]} can't be run: {error.strerror}", where=self._identity) from error
            out.seek(0)
            complaint.seek(0)
            if done.returncode:
                raise UserError(
                    f"the basecaller ended with exit code {done.returncode}; its last lines:\n"
                    + "\n".join(f"    {line}" for line in complaint.read().splitlines()[-LAST_LINES:]),
                    where=shlex.join(words),
                )
            return dict(read_sequences(out, where=shlex.join(words)))


def _store(caller: str, pod5: Path) -> Path:
    """Where the calls of these samples by this caller are kept."""
    digest = hashlib.sha256(caller.encode())
    for read in adc_reads(pod5):
        digest.update(f"\n{read.id} {len(read.adc)} {read.offset} {read.scale}\n".encode())
        digest.update(read.adc.tobytes())
    folder = cache_folder() / "basecalls"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{digest.hexdigest()}.jsonl"


def _stored(store: Path) -> Calls:
    return dict(_whole_lines(store.read_text(encoding="utf-8").splitlines())) if store.is_file() else {}


def _whole_lines(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Read ids and bases; the last line of a session that was killed may be half a line."""
    for line in lines:
        try:
            read, bases = json.loads(line)
        except ValueError:
            continue
        yield str(read), str(bases)


def _append(file: IO[str], read: str, bases: str) -> None:
    file.write("\n" + json.dumps([read, bases]))  # in front: a line that was cut off stays by itself
    file.flush()
