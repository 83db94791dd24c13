from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pod5
import pytest

from anycodec.config.data import Pod5Source
from anycodec.errors import DataError, MissingExtra
from anycodec.io.formats import open_file, read, write
from anycodec.io.pod5_fields import to_adc, to_picoamperes

RUN = pod5.RunInfo(
    acquisition_id="a",
    acquisition_start_time=1_700_000_000_123,
    adc_max=4095,
    adc_min=-4096,
    context_tags={},
    experiment_name="",
    flow_cell_id="",
    flow_cell_product_code="",
    protocol_name="",
    protocol_run_id="",
    protocol_start_time=1_700_000_000_000,
    sample_id="",
    sample_rate=5000,
    sequencing_kit="",
    sequencer_position="",
    sequencer_position_type="",
    software="",
    system_name="",
    system_type="",
    tracking_id={},
)


pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


def write_reads(path: Path, *signals: np.ndarray, scale: float = 0.2, offset: float = -3) -> None:
    with pod5.Writer(path) as writer:
        for number, signal in enumerate(signals):
            writer.add_read(
                pod5.Read(
                    read_id=UUID(int=number + 1),
                    pore=pod5.Pore(1, 1, "not_set"),
                    calibration=pod5.Calibration(offset, scale),
                    read_number=number,
                    start_sample=0,
                    median_before=0.0,
                    end_reason=pod5.EndReason(pod5.EndReasonEnum.UNKNOWN, False),
                    run_info=RUN,
                    signal=signal,
                )
            )


def assert_equal_pod5(ours: Path, theirs: Path) -> None:
    """Equal in every field, as the pod5 library sees them."""
    with pod5.Reader(ours) as first, pod5.Reader(theirs) as second:
        for record, other in zip(first.reads(), second.reads(), strict=True):
            a, b = record.to_read(), other.to_read()
            for name in a.__dataclass_fields__:
                np.testing.assert_equal(getattr(a, name), getattr(b, name), err_msg=name)
        for name in ("sample_rate", "acquisition_id", "context_tags", "tracking_id"):
            tables = [r.run_info_table.read_all().column(name).to_pylist() for r in (first, second)]
            assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("offset", "scale"),
    [(0, 0.1), (-243, 0.1755), (12.5, 0.14806777), (3, 1e-4), (-2048.25, 7.3), (8, -0.2)],
)
def test_every_int16_survives_the_way_to_picoamperes_and_back(offset: float, scale: float) -> None:
    adc = np.arange(-(2**15), 2**15).astype(np.int16)
    np.testing.assert_array_equal(to_adc(to_picoamperes(adc, offset, scale), offset, scale), adc)


def test_values_beyond_the_converter_are_cut() -> None:
    np.testing.assert_array_equal(to_adc(np.array([1e9, -1e9]), 0, 0.1), [32767, -32768])


def test_values_are_the_librarys_picoamperes(tmp_path: Path) -> None:
    path = tmp_path / "a.pod5"
    write_reads(path, np.arange(-50, 250_000 % 32_000, dtype=np.int16))
    (segment,) = read(path, Pod5Source(), 10**6)
    with pod5.Reader(path) as reader:
        expected = next(reader.reads()).signal_pa
    np.testing.assert_array_equal(segment.values[:, 0], expected)
    assert (segment.info.unit, segment.info.rate, segment.info.dtype) == ("pA", 5000.0, "int16")
    assert segment.info.id == "00000000-0000-0000-0000-000000000001"


def test_long_reads_come_in_blocks_across_the_chunks_of_the_file(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).integers(-4096, 4096, 230_001).astype(np.int16)
    path = tmp_path / "a.pod5"
    write_reads(path, signal, signal[:10])
    segments = list(read(path, Pod5Source(), 70_000))
    assert [s.length for s in segments] == [70_000, 70_000, 70_000, 20_001, 10]
    whole = np.concatenate([to_adc(s.values[:, 0], -3, 0.2) for s in segments[:4]])
    np.testing.assert_array_equal(whole, signal)


def test_a_read_without_samples_is_kept(tmp_path: Path) -> None:
    path, target = tmp_path / "a.pod5", tmp_path / "b.pod5"
    write_reads(path, np.zeros(0, np.int16), np.ones(5, np.int16))
    with open_file(path, Pod5Source()) as reader:
        write(target, reader.info, reader.segments(100))
    assert_equal_pod5(path, target)


def test_usual_fields_take_no_room_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.pod5"
    write_reads(path, np.ones(5, np.int16))
    (segment,) = read(path, Pod5Source(), 100)
    assert segment.info.meta == {
        "calibration_offset": -3.0,
        "calibration_scale": 0.2,
        "channel": 1,
        "well": 1,
    }


@pytest.mark.parametrize("scale", [0.0, np.inf, np.nan])
def test_an_impossible_calibration_names_the_read(scale: float, tmp_path: Path) -> None:
    path = tmp_path / "a.pod5"
    write_reads(path, np.ones(5, np.int16), scale=scale)
    with pytest.raises(
        DataError, match="read 00000000-0000-0000-0000-000000000001 has a calibration"
    ) as caught:
        list(read(path, Pod5Source(), 100))
    assert caught.value.where == str(path)


def test_a_missing_library_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pod5", None)
    with pytest.raises(MissingExtra, match=r"anycodec\[pod5\]"):
        open_file(tmp_path / "a.pod5", Pod5Source())


@pytest.mark.realdata
def test_real_reads_come_back_equal(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "nanopore").glob("*.pod5"))
    assert files
    for path in files:
        with open_file(path, Pod5Source()) as reader:
            info = replace(reader.info, meta=json.loads(json.dumps(reader.info.meta, allow_nan=False)))
            write(tmp_path / path.name, info, reader.segments(100_000))
        assert_equal_pod5(path, tmp_path / path.name)
