"""The command line: parsing, exit codes and last words. What the verbs do is tested elsewhere."""

import errno
import importlib
import inspect
import keyword
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anycodec import __version__, workflows
from anycodec.cli import app
from anycodec.engine import Sampling
from anycodec.errors import DataError
from anycodec.workflows.parts import Wanted

HEAVY = ("torch", "pydantic", "numpy", "yaml", "pandas", "pyarrow", "matplotlib", "pytorch_lightning")

CALLS = {
    "samples": (["nanopore", "d"], {"kind": "nanopore", "out": Path("d"), "seed": 0, "size": "full"}),
    "train": (
        ["c.yaml", "data.root=d", "--steps", "5", "--val-every", "2", "-o", "r", "--resume", "-q"],
        {
            "config": Path("c.yaml"),
            "overrides": ["data.root=d", "train.steps=5", "train.val_every=2"],
            "out": Path("r"),
            "resume": True,
            "quiet": True,
        },
    ),
    "evaluate": (
        ["r", "a", "b", "--features", "dinov2", "--lpips", "alex"],
        {
            "run": Path("r"),
            "inputs": [Path("a"), Path("b")],
            "device": "auto",
            "features": "dinov2",
            "lpips": "alex",
        },
    ),
    "compress": (
        ["r", "a", "-o", "d", "--device", "cpu"],
        {
            "run": Path("r"),
            "inputs": [Path("a")],
            "out": Path("d"),
            "device": "cpu",
            "bound": None,
            "target": None,
            "coarse": True,
            "prior": None,
        },
    ),
    "decompress": (
        ["a.acz", "b.acz"],
        {
            "files": [Path("a.acz"), Path("b.acz")],
            "out": None,
            "run": None,
            "device": "auto",
            "wanted": Wanted(),
            "prior": None,
        },
    ),
    "cat": (
        ["a.acz", "--format", "npy"],
        {
            "path": Path("a.acz"),
            "run": None,
            "device": "auto",
            "wanted": Wanted(),
            "form": "npy",
            "prior": None,
        },
    ),
    "append": (
        ["a.acz", "b", "c"],
        {
            "target": Path("a.acz"),
            "inputs": [Path("b"), Path("c")],
            "run": None,
            "device": "auto",
            "prior": None,
        },
    ),
    "rd": (
        ["r", "a"],
        {"run": Path("r"), "inputs": [Path("a")], "out": Path("rd"), "device": "auto"},
    ),
    "inspect": (["a.acz"], {"path": Path("a.acz")}),
    "split": (
        ["d", "--by", "time", "--ratios", ".7", ".2", ".1", "--guard", "3", "--type", "image"],
        {
            "root": Path("d"),
            "by": "time",
            "ratios": (0.7, 0.2, 0.1),
            "guard": 3,
            "seed": 0,
            "out": Path("manifest.json"),
            "type": "image",
        },
    ),
    "import": (
        ["taming", "w.ckpt", "data.root=d", "--config", "c.yaml", "--data", "video", "-o", "r", "--force"],
        {
            "source": "taming",
            "weights": Path("w.ckpt"),
            "overrides": ["data.root=d"],
            "config": Path("c.yaml"),
            "data": "video",
            "out": Path("r"),
            "force": True,
        },
    ),
    "export": (
        ["r", "--to", "diffusers", "-o", "d"],
        {"run": Path("r"), "to": "diffusers", "out": Path("d")},
    ),
    "demo": ([], {"out": Path("runs/demo")}),
    "sample": (
        ["g", "--class", "1,ID_2", "--count", "3", "--guidance", "4", "--interval", "0.1,0.9", "-o", "d"],
        {
            "run": Path("g"),
            "out": Path("d"),
            "classes": ["1", "ID_2"],
            "count": 3,
            "seed": 0,
            "how": Sampling(guidance=4.0, interval=(0.1, 0.9)),
            "codec": None,
            "device": "auto",
        },
    ),
    "doctor": ([], {}),
}


def module_name(verb):
    if verb == "train":  # of any kind of run; workflows.train is that of codecs
        return "training"
    return f"{verb}_" if keyword.iskeyword(verb) else verb


@pytest.fixture
def fake(monkeypatch):
    """Put a function in the place of a workflow."""

    def put(verb, function):
        name = module_name(verb)
        module = types.ModuleType(f"anycodec.workflows.{name}")
        module.run = function
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(workflows, name, module, raising=False)

    return put


def invoke(*words):
    return CliRunner().invoke(app, list(words))


def raising(error):
    def run(**_):
        raise error

    return run


def run_main(code, *words, **options):
    """Run `main` in a process of its own, after `code`."""
    program = f"import sys; sys.argv[0] = 'anycodec'\n{code}\nfrom anycodec.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("verb", CALLS)
def test_each_verb_calls_its_workflow(verb, fake):
    words, expected = CALLS[verb]
    calls = []
    fake(verb, lambda **arguments: calls.append(arguments))
    result = invoke(verb, *words)
    assert result.exit_code == 0, result.output
    assert calls == [expected]


@pytest.mark.parametrize("verb", CALLS)
def test_each_workflow_takes_these_arguments(verb):
    workflow = importlib.import_module(f"anycodec.workflows.{module_name(verb)}")
    inspect.signature(workflow.run).bind(**CALLS[verb][1])


def test_report_takes_the_run(fake):
    calls = []
    fake("report", calls.append)
    assert invoke("report", "r").exit_code == 0
    assert calls == [Path("r")]


@pytest.mark.parametrize("code", [0, 2, 143])
def test_what_a_workflow_returns_is_the_exit_code(fake, code):
    fake("doctor", lambda: code)
    assert invoke("doctor").exit_code == code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            DataError("no files", where="d", how="look again"),
            2,
            ["error: no files", "where: d", "mend:  look again"],
        ),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (MemoryError(), 2, ["memory", "train.batch_size"]),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2, ["no space left on the disk", "/x/y"]),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 2, ["permission denied", "/x/y"]),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/gone/for/good/metrics.csv"),
            2,
            ["the folder is gone", "where: /gone/for/good\n", "removed or renamed"],
        ),
    ],
)
def test_what_the_user_can_mend_is_told_without_a_traceback(fake, error, code, words):
    fake("demo", raising(error))
    result = invoke("demo")
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_a_bug_says_so_with_its_traceback():
    code = (
        "import types, anycodec.workflows as w\n"
        "def run(): raise ZeroDivisionError('oops')\n"
        "w.doctor = types.SimpleNamespace(run=run)"
    )
    done = run_main(code, "doctor")
    assert done.returncode == 1
    assert "ZeroDivisionError: oops" in done.stderr
    assert f"This is a bug in anycodec {__version__} (ZeroDivisionError)" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["train"],
        ["samples", "novels", "d"],
        ["split", "d"],
        ["doctor", "--nonsense"],
        ["evaluate"],
    ],
)
def test_usage_mistakes_exit_with_2(words):
    assert invoke(*words).exit_code == 2


def test_config_mistakes_exit_with_2(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {type: pod5}\ncodec: {type: simvqgann}\n")
    for verb in (["config", "check"], ["config", "show"]):
        result = invoke(*verb, str(path))
        assert result.exit_code == 2
        assert "did you mean `simvqgan`?" in result.stderr
        assert f"{path}:2" in result.stderr


def test_version():
    assert invoke("--version").stdout == f"anycodec {__version__}\n"


def test_help_imports_nothing_heavy():
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('loaded:', *(set(sys.modules) & set({HEAVY!r})), file=sys.stderr))"
    )
    done = run_main(code, "--help")
    assert done.returncode == 0
    assert "compress" in done.stdout
    assert done.stderr.split() == ["loaded:"]


@pytest.mark.parametrize("verb", [["keys"], ["schema"], ["check"], ["show"]])
def test_config_verbs_do_without_torch(verb, tmp_path):
    (tmp_path / "c.yaml").write_text("data: {type: pod5, root: .}\ncodec: {type: simvqgan}\n")
    words = [*verb, *(["c.yaml"] if verb[0] in ("check", "show") else [])]
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    done = run_main(code, "config", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "False\n")


def test_check_says_what_it_comes_to(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: squiggle\ndata: {type: pod5, root: .}\ncodec: {type: simvqgan}\n")
    result = invoke("config", "check", str(path), "data.window.samples=1200")
    assert result.exit_code == 0
    # 1200 / (2 * 2 * 3) tokens of log2(1024) bits over 1200 samples
    assert "window 1200 samples, 100 tokens of 1024 codes, nominally 0.8333 bits/sample" in result.stdout


def test_show_can_be_loaded_again(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {type: image}\ncodec: {type: vqgan, dropout: 1e-2}\n")
    shown = invoke("config", "show", str(tmp_path / "c.yaml"), "train.steps=7").stdout
    (tmp_path / "again.yaml").write_text(shown)
    assert invoke("config", "show", str(tmp_path / "again.yaml")).stdout == shown
    assert "dropout: 0.01" in shown
    assert "steps: 7" in shown


def test_keys_are_lines_of_four_columns_when_piped():
    lines = invoke("config", "keys").stdout.splitlines()
    assert {line.count("\t") for line in lines} == {3}
    assert any(line.startswith("train.steps\tinteger >= 1\t2000\t") for line in lines)


def test_a_closed_pipe_is_quiet():
    program = "import sys; sys.argv[0] = 'anycodec'; from anycodec.cli import main; main()"
    writer = subprocess.Popen(
        [sys.executable, "-c", program, "config", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    writer.wait()


def test_python_m_anycodec():
    done = subprocess.run(
        [sys.executable, "-m", "anycodec", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"anycodec {__version__}\n"
