"""Bases: decoding, identities, printed sequences, truncated counts, pores."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from anycodec.errors import DataError, MissingExtra, UserError
from anycodec.io.pod5_adc import adc_reads, run_infos, truncate, write_changed
from anycodec.metrics import bases as metrics
from anycodec.workflows.basecall_results import BasecallEvaluation, Read, Storage
from anycodec.workflows.pores import pore_of
from anycodec.workflows.samples import run as write_samples
from anycodec.workflows.sequences import read_sequences

RNG = np.random.default_rng(1)
GENOME = "".join(RNG.choice(list("ACGT"), 6000))


@pytest.fixture
def parts():
    for part in ("fast_ctc_decode", "mappy", "edlib"):
        pytest.importorskip(part)


# --- CTC ----------------------------------------------------------------------------------------------


def frames(labels: str, sure: float = 0.97) -> np.ndarray:
    """Probabilities of frames whose best labels are these, - for no base."""
    found = np.full((len(labels), 5), (1 - sure) / 4, np.float32)
    found[np.arange(len(labels)), ["-ACGT".index(label) for label in labels]] = sure
    return found


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("AA-A-CC--GT", "AACGT"), ("-----", ""), ("", ""), ("ACGT", "ACGT"), ("TTTT", "T"), ("T-T-T", "TTT")],
)
def test_repeats_merge_unless_a_blank_stands_between(parts, labels, expected):
    assert metrics.decode_ctc(frames(labels)) == expected


def test_a_base_that_many_paths_agree_on_wins(parts):
    # P(A) = .4 x .4 + 2 x .4 x .6 = .64 over three paths, P(no base) = .6 x .6 = .36 over the best one
    two = np.array([[0.6, 0.4, 0, 0, 0]] * 2, np.float32)
    assert metrics.decode_ctc(two) == "A"


# --- identity -----------------------------------------------------------------------------------------


def edited(bases: str, kind: str, every: int) -> str:
    swap = dict(zip("ACGT", "CGTA", strict=True))
    change = {"substitute": lambda b: swap[b], "delete": lambda b: "", "insert": lambda b: b + swap[b]}[kind]
    return "".join(change(b) if i % every == every // 2 else b for i, b in enumerate(bases))


@pytest.mark.parametrize("kind", ["substitute", "delete", "insert"])
def test_identity_to_the_reference_counts_each_edit_as_a_column(parts, tmp_path, kind):
    fasta = tmp_path / "genome.fna"
    fasta.write_text(f">genome\n{GENOME}\n")
    call = edited(GENOME[500:4500], kind, 50)
    found = metrics.Reference(fasta).align(call)
    # 80 edits in 4000 bases; an insertion makes the alignment longer. The ends may be cut before an edit.
    assert found.identity == pytest.approx(1 - 80 / (4080 if kind == "insert" else 4000), abs=1e-3)
    assert found.covered > 0.985


def test_what_has_no_place_in_the_reference(parts, tmp_path):
    fasta = tmp_path / "genome.fna"
    fasta.write_text(f">genome\n{GENOME}\n")
    reference = metrics.Reference(fasta)
    assert reference.align("".join(np.random.default_rng(7).choice(list("ACGT"), 3000))) is None
    assert reference.align("ACG") is None


@pytest.mark.parametrize(
    ("call", "original", "identity"),
    [
        ("ACGTACGT", "ACGTACGT", 1.0),
        ("ACGTTCGT", "ACGTACGT", 7 / 8),
        ("ACGACGT", "ACGTACGT", 7 / 8),
        ("ACGTAACGT", "ACGTACGT", 8 / 9),
        ("", "ACGT", 0.0),
        ("", "", 1.0),
    ],
)
def test_identity_of_two_calls(parts, call, original, identity):
    assert metrics.call_identity(call, original) == pytest.approx(identity)


def test_references_that_are_none(parts, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        metrics.Reference(tmp_path / "nowhere.fna")
    empty = tmp_path / "empty.fna"
    empty.write_text("")
    with pytest.raises(DataError, match="no sequences"):
        metrics.Reference(empty)


def test_a_missing_part_names_its_extra(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(metrics, "importlib", SimpleNamespace(import_module=absent))
    with pytest.raises(MissingExtra, match=r"fast-ctc-decode is not installed(.|\n)*anycodec\[basecalls\]"):
        metrics.require_parts()


# --- printed sequences --------------------------------------------------------------------------------

SAM = """@HD\tVN:1.6\tSO:unknown
a\t4\t*\t0\t0\t*\t*\t0\t0\tACGU\t*
b\t16\tchr\t1\t60\t4M\t*\t0\t0\tAACG\t*
b\t2064\tchr\t9\t60\t4M\t*\t0\t0\tTTTT\t*
c\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">a runid=1\nACG\nT\n>b\n\n>c\nTT\n", {"a": "ACGT", "b": "", "c": "TT"}),
        ("@a ch=1\nacgu\n+\n!!!!\n@b\n\n+\n\n", {"a": "ACGT", "b": ""}),
        ("@HD\nACGT\n+\n!!!!\n", {"HD": "ACGT"}),
        (SAM, {"a": "ACGT", "b": "CGTT", "c": ""}),
        (SAM.partition("\n")[2], {"a": "ACGT", "b": "CGTT", "c": ""}),
        ("", {}),
    ],
)
def test_fasta_fastq_and_sam(text, expected):
    assert dict(read_sequences(text.splitlines(keepends=True), where="caller")) == expected


@pytest.mark.parametrize("text", ["read a: ACGT\n", "@SQ\tSN:x\nhalf a record\n", "@SQ\tSN:x\n" + "x\t" * 11])
def test_anything_else_is_refused(text):
    with pytest.raises(UserError, match="printed") as error:
        dict(read_sequences(text.splitlines(), where="my caller"))
    assert error.value.where == "my caller"


# --- counts -------------------------------------------------------------------------------------------


def test_truncation_rounds_to_multiples():
    counts = np.arange(-32768, 32768).astype(np.int16)
    for bits in (0, 1, 3, 5):
        found = truncate(counts, bits).astype(int)
        error = np.abs(found - counts)
        assert (found[:-32] % 2**bits == 0).all()
        assert error[:-32].max() == (2**bits) // 2
    # the variance of k - 4 for k of 0 to 7 equally often
    error = truncate(counts[:-32], 3).astype(float) - counts[:-32]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(np.sqrt(5.5))


def test_a_truncated_file_is_smaller_and_else_the_same(tmp_path):
    pytest.importorskip("pod5")
    write_samples(kind="nanopore", out=tmp_path, seed=0, size="small")
    source = sorted(tmp_path.rglob("*.pod5"))[0]
    write_changed(source, tmp_path / "short.pod5", lambda adc: truncate(adc, 4))
    before, after = list(adc_reads(source)), list(adc_reads(tmp_path / "short.pod5"))
    assert [(r.id, r.offset, r.scale) for r in after] == [(r.id, r.offset, r.scale) for r in before]
    assert all(np.array_equal(b.adc, truncate(a.adc, 4)) for a, b in zip(before, after, strict=True))
    assert run_infos(source) == run_infos(tmp_path / "short.pod5")
    samples = sum(len(read.adc) for read in before)
    full, rounded, shifted = (
        8 * sum(read.vbz_bytes(dropped) for read in reads) / samples
        for reads, dropped in ((before, 0), (after, 0), (after, 4))
    )
    assert full > rounded + 2 > shifted + 2


# --- pores --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "kit", "rate", "pore"),
    [
        ("FLO-FLG001", "sqk-lsk109", 4000, "R9.4.1"),
        ("FLO-PRO002", "", 4000, "R9.4.1"),
        ("FLO-PRO114M", "sqk-ulk114", 5000, "R10.4.1"),
        ("FLO-MIN114", "sqk-lsk114", 4000, "R10.4.1"),
        ("", "SQK-LSK114-XL", 4000, "R10.4.1"),
        ("", "SQK-NBD112.24", 4000, "R10.4"),
        ("FLO-MIN106", "sqk-rna002", 3012, "RNA"),
        ("FLO-MIN004RA", "sqk-rna004", 4000, "RNA"),
        ("", "", 5000, "R10.4.1"),
        ("", "", 4000, None),
        ("mine", "own", 4000, None),
    ],
)
def test_pore_of_a_run(cell, kit, rate, pore):
    record = {"flow_cell_product_code": cell, "sequencing_kit": kit, "sample_rate": rate}
    assert pore_of(record) == pore


# --- figures ------------------------------------------------------------------------------------------


def test_sums_over_reads_and_files():
    evaluation = BasecallEvaluation(basecaller="x", reference="y", min_samples=10)
    for file, size in (("a", 100), ("b", 60)):
        evaluation.add(
            [Storage("codec", "codec", {"tokens": size, "header": 20}, 400, 3, 2)],
            [
                Read("codec", file, "1", 100, 9, 0.9, 1.0, 0.8, 3.0, 0.3),
                Read("codec", file, "2", 300, 9, 0.8, 0.5, 1.0, 1.0, 0.1),
                Read("codec", file, "3", 0, 0, None, None, 0.0),
            ],
        )
    (found,) = evaluation.summaries()
    assert found.bits_per_sample == pytest.approx(8 * 200 / 800)
    assert found.side_bits_per_sample == pytest.approx(8 * 40 / 800)
    assert (found.reads_in, found.reads_out) == (6, 4)
    assert (found.called, found.uncalled, found.unaligned) == (6, 2, 2)
    assert found.identity_median == found.identity_mean == pytest.approx(0.85)
    assert found.agreement_median == pytest.approx(0.8)
    assert found.agreement_mean == pytest.approx(0.6)
    assert found.rmse_adc == pytest.approx(np.sqrt((9 * 100 + 300) / 400))
    assert "codec: 2 READS DID NOT COME BACK WHOLE" in list(evaluation.notes())
    assert len(evaluation.to_csv().splitlines()) == 7
