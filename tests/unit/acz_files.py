"""Small `.acz` files for tests."""

from pathlib import Path

import numpy as np

from anycodec.bitstream.container import AczWriter, Header, SegmentData
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.types import Affine, FileInfo, SignalInfo, Tokens

FINGERPRINT = "0123456789abcdef" * 4


def make_header(sizes=(64,), **changes) -> Header:
    fields = {
        "program": "anycodec 0.1.0",
        "source_name": "reads.pod5",
        "file": FileInfo(path="reads.pod5", format="pod5", n_signals=2, meta={"vbz": True, "runs": [1.5]}),
        "source": {"type": "pod5", "window": {"samples": 48}, "normalizer": {"type": "median_mad"}},
        "codec": {
            "fingerprint": FINGERPRINT, "run": "/runs/x", "name": "x", "type": "simvqgan",
            "quantizer": "ema", "engine": "torch",
        },
        "codebook_sizes": sizes,
    }  # fmt: skip
    return Header(**{**fields, **changes})


def make_coder(sizes=(64,)) -> AdaptiveCoder:
    return AdaptiveCoder([np.arange(1, size + 1) for size in sizes])


def make_info(number: int, **changes) -> SignalInfo:
    fields = {
        "id": f"1b4e28ba-2fa1-11d2-883f-0016d3cca4{number:02x}",
        "axes": "TC",
        "shape": (96, 2),
        "dtype": "int16",
        "rate": 4000.0,
        "unit": "pA",
        "channels": ("a", "b"),
        "meta": {"read_number": number, "calibration_scale": 0.1755},
    }
    return SignalInfo(**{**fields, **changes})


def make_segment(rng: np.random.Generator, sizes=(64,), start=0, windows=2) -> SegmentData:
    length = 48
    grids = tuple(rng.integers(0, size, (windows, 4 << level)) for level, size in enumerate(sizes))
    return SegmentData(
        start=start,
        length=length,
        tokens=Tokens(grids, sizes),
        affine=Affine(rng.normal(size=(1, 2)).astype("f4"), rng.uniform(1, 2, (1, 2)).astype("f4")),
        mask=rng.random((length, 2)) > 0.1,
        attachments={"times": bytes(range(60)), "none": b""},
    )


def write_small(path: Path, sizes=(64,), signals=2) -> Path:
    """Two segments a signal, with everything that a segment can have."""
    rng = np.random.default_rng(0)
    with AczWriter(path, make_header(sizes), make_coder(sizes)) as writer:
        for number in range(signals):
            for start in (0, 48):
                writer.add(make_info(number), make_segment(rng, sizes, start))
    return path


def assert_same_segment(found: SegmentData, expected: SegmentData) -> None:
    assert (found.start, found.length) == (expected.start, expected.length)
    assert found.tokens.codebook_sizes == expected.tokens.codebook_sizes
    for one, other in zip(found.tokens.grids, expected.tokens.grids, strict=True):
        assert one.dtype == np.int64
        np.testing.assert_array_equal(one, other)
    assert (found.affine is None) == (expected.affine is None)
    if expected.affine is not None and found.affine is not None:
        np.testing.assert_array_equal(found.affine.shift, expected.affine.shift)
        np.testing.assert_array_equal(found.affine.scale, expected.affine.scale)
    full = expected.mask is None or expected.mask.all()
    assert (found.mask is None) == full
    if not full:
        np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.attachments == expected.attachments
