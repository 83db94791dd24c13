"""What `anycodec compress` says of sizes."""

from __future__ import annotations

import pytest

from anycodec.workflows import compress


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1000, 250, "1,000 -> 250 bytes, 4.0x smaller"),
        (200, 500, "200 -> 500 bytes, 2.5x LARGER"),
        (0, 30, "0 -> 30 bytes, 30.0x LARGER"),
        (0, 0, "0 -> 0 bytes, 1.0x smaller"),
    ],
)
def test_sizes_are_compared(tmp_path, capsys, before, after, expected):
    source, target = tmp_path / "a", tmp_path / "a.acz"
    source.write_bytes(bytes(before))
    target.write_bytes(bytes(after))
    compress.report([(source, target)], [])
    assert capsys.readouterr().out.splitlines()[-1] == f"1 files, {expected}"
