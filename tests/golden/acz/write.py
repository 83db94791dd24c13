"""Wrote `v1.acz` and `v1.json`. Never run it again for version 1: old files must decode for ever.

python tests/golden/acz/write.py NAME
"""

import json
import sys
from pathlib import Path

import numpy as np

from anycodec.bitstream.container import AczWriter, Header, SegmentData
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.types import Affine, FileInfo, SignalInfo, Tokens

SIZES = (300, 4)
FILE_META = {"separator": ";", "columns": ["t", "x"]}


def main(name: str) -> None:
    rng = np.random.default_rng(7)
    p = 1 / np.arange(1, SIZES[0] + 1)
    priors = [rng.multinomial(5000, p / p.sum()), np.zeros(SIZES[1], np.int64)]
    header = Header(
        program="anycodec 0.1.0",
        source_name="série.csv",
        file=FileInfo(path="série.csv", format="table", n_signals=3, meta=FILE_META),
        source={"type": "table", "window": {"samples": 64}, "normalizer": {"type": "revin"}},
        codec={"fingerprint": "ab" * 32, "run": "/runs/a", "name": "a", "type": "simvqgan"},
        codebook_sizes=SIZES,
    )
    content = []
    folder = Path(__file__).parent
    with AczWriter(folder / f"{name}.acz", header, AdaptiveCoder(priors)) as writer:
        for info, start, length, windows in [
            (_info("1b4e28ba-2fa1-11d2-883f-0016d3cca427", 640), 0, 600, 30),
            (_info("1b4e28ba-2fa1-11d2-883f-0016d3cca427", 640), 600, 40, 1),
            (_info("plain id", 0), 0, 0, 0),
            (_info("third", 10, meta={"gain": 0.5}), 0, 10, 1),
        ]:
            coarse = rng.choice(SIZES[0], (windows, 5, 6), p=p / p.sum())
            tokens = Tokens((coarse, rng.integers(0, SIZES[1], (windows, 15))), SIZES)
            rows = max(1, windows) if start == 0 else 1
            segment = SegmentData(
                start=start,
                length=length,
                tokens=tokens,
                affine=Affine(_floats(rng, rows), np.abs(_floats(rng, rows)) + 1) if windows else None,
                mask=rng.random((length, 1)) > 0.2 if length == 40 else None,
                attachments={"times": rng.bytes(9) * 5, "é": b""} if start else {},
            )
            writer.add(info, segment)
            content.append(_plain(info, segment))
    expected = {"priors": [prior.tolist() for prior in priors], "segments": content}
    (folder / f"{name}.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


def _info(name: str, length: int, **more: object) -> SignalInfo:
    return SignalInfo(id=name, axes="TC", shape=(length, 1), dtype="float32", rate=0.1, unit="°C", **more)


def _floats(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.normal(size=(rows, 1)).astype(np.float32)


def _plain(info: SignalInfo, segment: SegmentData) -> dict[str, object]:
    affine, mask = segment.affine, segment.mask
    return {
        "id": info.id,
        "shape": info.shape,
        "meta": info.meta,
        "start": segment.start,
        "length": segment.length,
        "tokens": [{"shape": grid.shape, "values": grid.ravel().tolist()} for grid in segment.tokens.grids],
        "shift": None if affine is None else affine.shift.astype(float).tolist(),
        "scale": None if affine is None else affine.scale.astype(float).tolist(),
        "mask": None if mask is None else mask.astype(int).tolist(),
        "attachments": {name: data.hex() for name, data in segment.attachments.items()},
    }


if __name__ == "__main__":
    main(sys.argv[1])
