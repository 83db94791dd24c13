"""A dumped configuration loads as an equal one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycodec.config import (
    adversarial,
    alignment,
    codec,
    data,
    discriminator,
    equivariance,
    loss,
    quantizer,
    teacher,
    train,
)
from anycodec.config.loader import dump_spec, load_spec
from anycodec.config.run import TAKEN, RunSpec

# what YAML 1.1, YAML 1.2 and Python read differently
AMBIGUOUS = [
    "1e4", "1e-4", "on", "No", "null", "~", "010", "1_0", "0x1f", "2020-01-01", "=", "<<", ".inf",
    "#", "*x", "&x", "!x", "{a}", "[a", "'", '"', "\\",
]  # fmt: skip
ESCAPED = ["", "a: b", "- x", "\t", "a\nb\n", " x ", "é😀", "\x85", "\u2028"]
text = st.sampled_from(AMBIGUOUS + ESCAPED) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
positive = st.floats(1e-9, 1e9)
size = st.sampled_from([32, 64, 128])

singles = st.one_of(
    st.builds(quantizer.VqSpec, codebook_size=st.integers(2, 2**24), kmeans_init=st.booleans()),
    st.builds(quantizer.EmaSpec, decay=st.floats(1e-6, 0.999), epsilon=positive),
    st.builds(quantizer.SimVqSpec, beta=positive),
    st.builds(quantizer.FsqSpec, levels=st.lists(st.integers(2, 8), min_size=1, max_size=5).map(tuple)),
    st.builds(quantizer.LfqSpec, codebook_size=st.sampled_from([2, 1024]), spherical=st.booleans()),
)
residuals = st.builds(quantizer.ResidualSpec, stages=st.integers(1, 64), quantizer=singles)
quantizers = st.one_of(
    singles,
    residuals,
    st.builds(quantizer.GroupedSpec, groups=st.integers(1, 64), quantizer=singles | residuals),
    st.builds(quantizer.KlSpec, weight=positive),
    st.builds(quantizer.NoneSpec),
)
normalizers = st.one_of(
    st.builds(data.MedianMadSpec),
    st.builds(data.RevinSpec),
    st.builds(
        lambda low, width: data.FixedSpec(low=low, high=low + width), st.floats(-1e6, 1e6), st.floats(1, 9)
    ),
)
splits = st.one_of(
    st.builds(
        data.TimeSplit, ratios=st.sampled_from([(0.8, 0.1, 0.1), (1.0, 0.0, 0.0)]), guard=st.integers(0, 99)
    ),
    st.builds(data.ClassSplit, seed=st.integers(-(2**40), 2**40)),
    st.builds(data.ManifestSplit, path=text.map(Path)),
)
series = st.builds(
    data.TableSource,
    root=st.none() | text.map(Path),
    exclude=st.lists(text, max_size=3).map(tuple),
    columns=st.none() | st.lists(text, max_size=3).map(tuple),
    timestamp=st.none() | text,
    sample_rate=st.none() | positive,
    window=st.builds(data.Window1d, samples=size),
    normalizer=normalizers,
    split=splits,
)
schedules = st.one_of(
    st.builds(train.ConstantSchedule, warmup=st.integers(0, 10**9)),
    st.builds(train.ExponentialSchedule, gamma=st.floats(1e-6, 1)),
)
trainings = st.builds(
    train.TrainSpec,
    steps=st.integers(1, 10**12),
    optimizer=st.builds(train.OptimizerSpec, lr=positive, betas=st.tuples(st.floats(0, 1), st.floats(0, 1))),
    schedule=schedules,
    clip=st.none() | positive,
    wandb=st.none() | st.builds(train.WandbSpec, project=text),
)
terms = (
    st.sampled_from(["on", "No", "null", "nan", "y"]) | st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]*\Z")
).filter(lambda name: name not in TAKEN)
losses = st.dictionaries(
    terms, st.builds(loss.MseSpec, weight=st.floats(0, 1e300)) | st.builds(loss.L1Spec), min_size=1
)
contests = st.builds(
    adversarial.AdversarialSpec,
    discriminator=st.builds(discriminator.PatchGanSpec, layers=st.integers(1, 2)),
    start=st.integers(0, 1999),
    lead=st.just(0),
    noise=st.none() | st.builds(adversarial.InstanceNoiseSpec, scale=positive),
    optimizer=st.builds(adversarial.DiscriminatorOptimizerSpec, lr=positive),
    schedule=schedules,
)
teachers = st.one_of(
    st.builds(teacher.RunTeacher, path=text.map(Path)),
    st.just(teacher.DinoV2Teacher()),
    st.builds(teacher.HuggingFaceTeacher, name=text.filter(bool)),
)
alignments = st.builds(
    alignment.AlignmentSpec,
    teacher=teachers,
    adaptive=st.booleans(),
    stages=st.lists(
        st.builds(alignment.AlignmentStage, share=positive, distance_margin=st.floats(0, 2)),
        min_size=1,
        max_size=3,
    ).map(tuple),
)
specs = st.one_of(
    st.builds(
        RunSpec,
        name=st.from_regex(r"\A[A-Za-z0-9._-]+\Z"),
        seed=st.integers(0, 2**63),
        data=series,
        codec=st.builds(codec.SimVqganSpec, strides=st.just((2, 2, 4)), quantizer=quantizers),
        losses=losses,
        train=trainings,
    ),
    st.builds(
        RunSpec, data=series, codec=st.just(codec.SimVqganSpec(strides=(2, 2, 4))), adversarial=contests
    ),
    st.builds(
        RunSpec,
        data=st.just(data.ImageSource()),
        codec=st.builds(codec.KlVaeSpec, label_channels=st.none() | size),
        alignment=st.none() | alignments,
        equivariance=st.none() | st.builds(equivariance.EquivarianceSpec, smallest_scale=st.floats(0.1, 1)),
        train=st.builds(
            train.TrainSpec,
            schedule=st.builds(
                train.StagedSchedule,
                stages=st.lists(st.builds(train.ScheduleStage, lr=positive), min_size=1, max_size=3).map(
                    tuple
                ),
            ),
        ),
    ),
    st.builds(
        RunSpec,
        data=st.builds(data.VideoSource, window=st.builds(data.WindowClip, size=st.tuples(size, size))),
        codec=st.builds(codec.VqganSpec, dropout=st.floats(0, 0.5), quantizer=quantizers),
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("specs")


@given(spec=specs)
def test_dump_and_load_give_an_equal_spec(folder, spec):
    path = folder / "config.yaml"
    path.write_bytes(dump_spec(spec).encode())
    assert load_spec(path, check_paths=False) == spec


def test_the_order_is_stable_and_types_come_first():
    spec = RunSpec(data=data.Pod5Source(), codec=codec.SimVqganSpec())
    lines = dump_spec(spec).splitlines()
    top = [line.split(":")[0] for line in lines if not line.startswith(" ")]
    sections = ["data", "codec", "losses", "adversarial", "alignment", "equivariance", "train"]
    assert top == ["name", "seed", "engine", *sections]
    assert lines[lines.index("data:") + 1] == "  type: pod5"
    assert lines[lines.index("codec:") + 1] == "  type: simvqgan"
    assert "  strides: [2, 2, 3]" in lines
