"""How soon the command line answers.

`anycodec --help` and `anycodec inspect FILE` beside a bare interpreter and beside `import torch`,
in turns. Targets: --help under 0.3 s, and neither imports torch.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import common

HELP_SECONDS = 0.3
FORBIDDEN = ("torch", "jax", "pytorch_lightning")


def sample_file(folder: Path) -> Path:
    """A POD5 of the built-in sample."""
    common.run(common.anycodec("samples", "nanopore", folder, "--size", "small"))
    return sorted(folder.rglob("*.pod5"))[0]


def imported(command: list[str | Path]) -> list[str]:
    """Which of the heavy packages a command imports."""
    traced = common.run([command[0], "-X", "importtime", *command[1:]])
    modules = {line.rpartition("|")[2].strip() for line in traced.output.splitlines() if "|" in line}
    return [name for name in FORBIDDEN if name in modules]


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    repeats = 1 if options.quick else 15
    with common.workspace() as folder:
        file = sample_file(folder / "data")
        commands = {
            "python -c pass": common.python("-c", "pass"),
            "anycodec --help": common.anycodec("--help"),
            "anycodec inspect POD5": common.anycodec("inspect", file),
            "python -c 'import torch'": common.python("-c", "import torch"),
        }
        times = common.in_turns(
            {name: lambda command=command: common.wall(command) for name, command in commands.items()},
            repeats,
        )
        heavy = {name: imported(commands[name]) for name in commands if name.startswith("anycodec")}
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:26} {median:.3f} s")
    claims = [
        common.verdict("anycodec --help, s", medians["anycodec --help"], HELP_SECONDS, below=True),
        *(
            common.verdict(f"{name}: heavy packages imported", len(found), 1, below=True)
            for name, found in heavy.items()
        ),
    ]
    over_python = {name: common.ratio(times, name, "python -c pass") for name in commands}
    over_torch = {name: common.ratio(times, name, "python -c 'import torch'") for name in commands}
    results = {
        "claims": claims,
        "median_seconds": medians,
        "times_bare_python": over_python,
        "times_import_torch": over_torch,
        "seconds": times,
    }
    common.save("startup", options, results)


if __name__ == "__main__":
    main()
