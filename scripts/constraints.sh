#!/usr/bin/env bash
# Writes constraints.txt: one version of every dependency, direct and transitive, for all supported
# Pythons and platforms. Pins that still fit are kept; `make constraints ARGS=--upgrade` renews all.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOL=.cache/uv
[ -x "$TOOL/bin/uv" ] || { "${PYTHON:-python3}" -m venv "$TOOL" && "$TOOL/bin/pip" install --quiet uv; }

"$TOOL/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --extra pod5 --extra video --extra track --extra jax --extra basecalls --extra generate --extra ray --extra sweep --extra remote --group test --group lint --group docs --group benchmarks \
    --constraints scripts/constraints.in --no-annotate --custom-compile-command "make constraints" \
    --output-file constraints.txt "$@"
