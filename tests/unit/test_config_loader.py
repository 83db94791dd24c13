"""Loading a configuration: every mistake in one go, each with its place and its remedy."""

import pytest

from anycodec.config.data import ImageSource
from anycodec.config.loader import load_spec
from anycodec.config.quantizer import EmaSpec, SimVqSpec
from anycodec.config.run import window_shape
from anycodec.errors import ConfigError

GOOD = """\
name: squiggle
data:
  type: pod5
  root: .
  window: {samples: 24000}
codec:
  type: simvqgan
  strides: [2, 2, 3]
  quantizer:
    type: simvq
    codebook_size: 512
train:
  optimizer:
    lr: 1e-4
"""


SIZE = "`codec.quantizer.codebook_size` must be integer >= 2 and <= 16777216"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "squiggle.yaml"
    path.write_text(GOOD)
    return path


def edited(path, *edits):
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def mistakes(path, *overrides, check_paths=True):
    with pytest.raises(ConfigError) as caught:
        load_spec(path, overrides, check_paths=check_paths)
    return caught.value.mistakes


def only(path, *overrides):
    (mistake,) = mistakes(path, *overrides)
    return mistake


def test_a_good_file(config):
    spec = load_spec(config)
    assert spec.name == "squiggle"
    assert spec.train.optimizer.lr == 1e-4
    assert spec.codec.strides == (2, 2, 3)
    assert spec.codec.quantizer == SimVqSpec(codebook_size=512)


def test_unknown_key_names_the_nearest_and_the_known(config):
    mistake = only(edited(config, ("codebook_size", "codebook_sise")))
    assert mistake.what == "unknown key `codec.quantizer.codebook_sise`; did you mean `codebook_size`?"
    assert mistake.where == f"{config}:11"
    assert mistake.how.startswith("known keys of codec.quantizer: codebook_size, ")
    assert ", beta, " in mistake.how


def test_key_in_the_wrong_section_names_the_right_one(config):
    mistake = only(edited(config, ("  optimizer:\n    lr: 1e-4", "  lr: 1e-4")))
    assert mistake.what == "unknown key `train.lr`; did you mean `train.optimizer.lr`?"
    assert mistake.where == f"{config}:13"


def test_mistyped_section_counts_once(config):
    mistake = only(edited(config, ("codec:", "codek:")))
    assert mistake.what == "unknown key `codek`; did you mean `codec`?"
    assert mistake.where == f"{config}:6"


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("512", "many", 11, f"{SIZE}, not \"many\""),
        ("512", "1", 11, f"{SIZE}, not 1"),
        ("512", "true", 11, f"{SIZE}, not true"),
        ("512", "10.5", 11, f"{SIZE}, not 10.5"),
        ("512", "'512'", 11, f"{SIZE}, not \"512\""),
        ("1e-4", "fast", 14, '`train.optimizer.lr` must be number > 0, not "fast"'),
        ("1e-4", ".nan", 14, '`train.optimizer.lr` must be number > 0, not ".nan"'),
        ("[2, 2, 3]", "[2, 0, 3]", 8, "`codec.strides` must be list of integer >= 1, not [2, 0, 3]"),
        ("[2, 2, 3]", "2", 8, "`codec.strides` must be list of integer >= 1, not 2"),
        ("squiggle", "a b", 1, '`name` must be text like ^[A-Za-z0-9._-]+$, not "a b"'),
        ("    lr: 1e-4", "    betas: [0.9]", 14,
         "`train.optimizer.betas` must be list of 2: number, not [0.9]"),
        ("{samples: 24000}", "24000", 5, "`data.window` must be a section of settings, not 24000"),
        ("  optimizer:\n    lr: 1e-4", "  precision: bf61", 13,
         '`train.precision` must be fp32 | bf16 | fp16, not "bf61"; did you mean `bf16`?'),
    ],
)  # fmt: skip
def test_wrong_values_say_what_was_expected_and_given(config, old, new, line, what):
    mistake = only(edited(config, (old, new)))
    assert mistake.what == what
    assert mistake.where == f"{config}:{line}"


def test_many_mistakes_at_once_in_reading_order(config):
    edited(
        config,
        ("name: squiggle", "nam: squiggle"),
        ("root: .", "root: ./nowhere"),
        ("type: simvq\n", "type: simqv\n"),
        ("lr: 1e-4", "lr: [1]"),
    )
    found = mistakes(config, "train.steps=ten", "train.stps=3")
    assert found[0].what.startswith("unknown key `nam`")
    assert "nowhere" in found[1].what
    assert found[2].what == "unknown `codec.quantizer.type`: simqv; did you mean `simvq`?"
    assert found[2].how == "known types: vq, ema, simvq, optvq, fsq, lfq, residual, grouped, kl, none"
    assert [m.where for m in found] == [
        f"{config}:1",
        f"{config}:4",
        f"{config}:10",
        f"{config}:14",
        "override 'train.steps=ten'",
        "override 'train.stps=3'",
    ]
    assert found[5].what == "unknown key `train.stps`; did you mean `steps`?"


def test_the_message_fits_one_screen(config):
    edited(config, ("  strides", "".join(f"  wrong_{i}: 1\n" for i in range(40)) + "  strides"))
    with pytest.raises(ConfigError) as caught:
        load_spec(config)
    lines = str(caught.value).splitlines()
    assert lines[0] == "40 mistakes in the configuration"
    assert lines[-1] == "... and 34 more"
    assert len(lines) <= 24
    assert len(caught.value.mistakes) == 40


def test_strides_that_do_not_divide_the_window(config):
    mistake = only(edited(config, ("24000", "1000")))
    assert mistake.where == f"{config}:5"
    assert "12, which does not divide the window's 1000 along T" in mistake.what
    assert mistake.how == "use a window of 996 or 1008, or other strides"


def test_cross_field_mistake_of_a_default_is_placed_at_its_section(config):
    mistake = only(edited(config, ("  window: {samples: 24000}\n", ""), ("[2, 2, 3]", "[2, 2, 7]")))
    assert mistake.what.startswith("`data.window`")
    assert mistake.where == f"{config}:2"


@pytest.mark.parametrize(("seconds", "rate"), [("1e300", "1e300"), ("1e-9", "1"), ("4.8", "null")])
def test_window_in_seconds_that_comes_to_no_samples(config, seconds, rate):
    mistake = only(config, f"data.window={{seconds: {seconds}}}", f"data.sample_rate={rate}")
    assert mistake.what.startswith("`data.window.seconds`")
    assert mistake.where.startswith("override 'data.window=")


def test_window_in_seconds(config):
    spec = load_spec(config, ["data.window={seconds: 4.8}", "data.sample_rate=5000"])
    assert window_shape(spec.data) == (24000,)


def test_codec_of_the_wrong_kind(config):
    mistake = only(config, "codec.type=vqgan")
    assert mistake.where == "override 'codec.type=vqgan'"
    assert "axes HW" in mistake.what


def test_mistakes_inside_one_section(config):
    mistake = only(edited(config, ("[2, 2, 3]", "[2, 2]")))
    assert mistake.what.startswith("`codec`: channels has 3 stages and strides 2")
    assert mistake.where == f"{config}:6"


def test_mistakes_inside_a_section_of_one_type(tmp_path):
    """Where there is no choice of types, pydantic's locations hold no tag."""
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{type: pod5, root: {tmp_path}}}\ncodec: {{type: trellis}}\n")
    mistake = only(config, "codec.quantizer.codebook_size=100")
    assert mistake.where == "override 'codec.quantizer.codebook_size=100'"
    assert mistake.what == (
        "`codec.quantizer.codebook_size` must be integer >= 8 and <= 65536 in multiples of 8, not 100"
    )


def test_missing_root_tells_how_to_give_it(config):
    mistake = only(edited(config, ("  root: .\n", "")))
    assert "data.root" in mistake.what
    assert mistake.where == f"{config}:2"
    assert "data.root=DIR" in mistake.how
    assert load_spec(config, check_paths=False).data.root is None


def test_root_that_is_not_there(config, tmp_path):
    mistake = only(config, f"data.root={tmp_path}/gone")
    assert f"{tmp_path}/gone" in mistake.what
    assert mistake.where.startswith("override 'data.root=")
    load_spec(config, [f"data.root={tmp_path}/gone"], check_paths=False)


def test_root_can_be_a_file_a_pattern_or_relative_to_the_current_folder(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in (str(config), "squiggle.yaml", f"{tmp_path}/*.yaml", "**/*.yaml"):
        assert str(load_spec(config, [f"data.root={root}"]).data.root) == root
    assert "no file or folder" in only(config, "data.root=*.pod5").what


def test_manifest_that_is_not_there(config):
    mistake = only(config, "data.split={type: manifest, path: gone.json}")
    assert "`data.split.path`" in mistake.what
    assert "anycodec split" in mistake.how


def test_empty_file_lists_what_is_missing(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert [(m.what, m.where) for m in mistakes(path)] == [
        ("missing key `data`", str(path)),
        ("missing key `codec`", str(path)),
    ]


def test_missing_type(config):
    mistake = only(edited(config, ("  type: pod5\n", "")))
    assert mistake.what == "missing key `data.type`"
    assert mistake.how == "known types: pod5, table, array, image, video"


def test_type_that_stands_by_default_can_be_left_out(config):
    spec = load_spec(edited(config, ("    type: simvq\n", "")))
    assert spec.codec.quantizer == SimVqSpec(codebook_size=512)


def test_a_tag_in_place_of_its_section(config):
    mistake = only(config, "train.schedule=cosine")
    assert mistake.how == "write `type: cosine` inside it, or train.schedule.type=cosine"


def test_numbers_are_text_where_text_is_wanted(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    spec = load_spec(config, ["name=007", "data.root=2024", "data.exclude=[1e3, x]"])
    assert (spec.name, str(spec.data.root), spec.data.exclude) == ("007", "2024", ("1e3", "x"))


@pytest.mark.parametrize("key", ["api_key", "wandb_key", "WANDB_API_KEY", "token", "hf_token", "password"])
def test_secrets_are_refused_and_not_shown(config, key):
    secret = "0123456789abcdef"
    in_file = only(edited(config, ("train:\n", f"train:\n  wandb: {{{key}: {secret}}}\n")))
    assert f"`train.wandb.{key}` is a secret" in in_file.what
    assert in_file.where == f"{config}:13"
    assert "WANDB_API_KEY" in in_file.how
    config.write_text(GOOD)
    in_override = only(config, f"train.wandb.{key}={secret}")
    assert in_override.where == f"override 'train.wandb.{key}=...'"
    assert secret not in in_file.render() + in_override.render()


def test_overrides_win_over_the_file_and_later_over_earlier(config):
    spec = load_spec(
        config, ["train.steps=10", "train.steps=1e3", "train.early_stop.patience=4", "train.clip="]
    )
    assert spec.train.steps == 1000
    assert spec.train.early_stop.patience == 4
    assert spec.train.clip is None


def test_named_entries_are_added(config):
    assert sorted(load_spec(config, ["losses.l1.type=l1"]).losses) == ["l1", "mse"]
    assert sorted(load_spec(config, ["losses={a: {type: l1, weight: 2}}"]).losses) == ["a"]


def test_another_type_keeps_what_both_types_have(config):
    edited(
        config,
        ("codebook_size: 512", "codebook_size: 512\n    beta: 0.5\n    type_: x"),
        ("    type_: x\n", ""),
    )
    assert load_spec(config, ["codec.quantizer.type=ema"]).codec.quantizer == EmaSpec(
        codebook_size=512, beta=0.5
    )


def test_another_type_drops_what_it_lacks_whatever_the_order(config):
    overrides = [
        "codec.channel_multipliers=[1, 2]",
        "codec.attention_levels=[]",
        "codec.type=vqgan",
        "data.type=image",
    ]
    spec = load_spec(config, overrides)
    assert isinstance(spec.data, ImageSource)
    assert spec.data.window.size == (128, 128)
    assert spec.codec.channel_multipliers == (1, 2)
    assert spec.codec.quantizer == SimVqSpec(codebook_size=512)


def test_another_type_does_not_hide_unknown_keys(config):
    edited(config, ("codebook_size: 512", "codebok_size: 512"))
    assert only(config, "codec.quantizer.type=ema").where == f"{config}:11"


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("train.steps", "an override has the form KEY=VALUE"),
        ("=3", "an override has the form KEY=VALUE"),
        ("train..steps=3", "an override has the form KEY=VALUE"),
        ("train.steps.more=3", "`train.steps` is a value, not a section that could have `more`"),
        ("codec.strides.0=3", "`codec.strides` is a value, not a section that could have `0`"),
        ("train.optimzer.lr=3", "unknown key `train.optimzer`; did you mean `optimizer`?"),
        ("train.betas=[1, 2", "broken syntax"),
    ],
)
def test_override_mistakes_quote_the_override(config, override, what):
    mistake = only(config, override)
    assert mistake.what.startswith(what)
    assert mistake.where == f"override '{override}'"
