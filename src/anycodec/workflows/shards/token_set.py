"""A finished token set, as readers of it see it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anycodec.bitstream.shard_reader import ShardReader
from anycodec.bitstream.shard_schema import Row, ShardHeader
from anycodec.errors import FormatError
from anycodec.workflows.shards import manifest as manifests
from anycodec.workflows.shards.manifest import Manifest, ShardRecord


class TokenSet:
    """The shards of a folder in order.

    Args:
        folder: what `anycodec tokenize` wrote.

    Raises:
        FormatError: not a token set, an unfinished one, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = manifests.read(folder)
        if not self.manifest.finished:
            done, planned = len(self.manifest.records), self.manifest.info.shards
            raise FormatError(
                f"the job is not finished: {done} of {planned} shards are done",
                where=str(folder),
                how="run the same `anycodec tokenize` command again: it goes on where it stopped",
            )
        self.records: list[ShardRecord] = list(self.manifest.records.values())
        if not self.records:
            raise FormatError("a token set without shards", where=str(folder))
        with ShardReader(folder / self.records[0].name) as reader:
            self.header: ShardHeader = reader.header

    def shards(self) -> Iterator[ShardReader]:
        """Each shard, open."""
        for record in self.records:
            with ShardReader(self.folder / record.name) as reader:
                if not reader.header.same_codec(self.header):
                    raise FormatError(
                        "a shard of another codec",
                        where=str(self.folder / record.name),
                        how="one folder holds the tokens of one codec: tokenize again",
                    )
                yield reader

    def rows(self) -> Iterator[Row]:
        """All segments in order."""
        for reader in self.shards():
            yield from reader.rows()
