#!/usr/bin/env bash
# Makes .venv and installs anycodec into it, with the versions of constraints.txt.
#
#   scripts/setup.sh [GROUP...]      groups of pyproject.toml: test, lint, docs, benchmarks
#   PYTHON=python3.12 scripts/setup.sh
#
# A stamp a group remembers what it was made from, so a second call returns at once, and a change of
# pyproject.toml, constraints.txt, this script, the interpreter or the folder installs again.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly CPU_INDEX=https://download.pytorch.org/whl/cpu
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

identity() { "$1" -c 'import sys; print(*sys.version_info[:3], sys.base_prefix)' 2>/dev/null; }

find_python() {
    local candidates=(python3 python3.13 python3.12 python3.11 python) candidate
    if [ -n "${PYTHON:-}" ]; then
        candidates=("$PYTHON")
    elif suitable "$VENV/bin/python"; then
        candidates=("$VENV/bin/python")
    fi
    for candidate in "${candidates[@]}"; do
        if suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "anycodec needs Python 3.11 or newer; tried: ${candidates[*]}" \
        "found: $("${candidates[0]}" --version 2>&1 | head -n 1 || true)" \
        "install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

fingerprint() {
    { cat pyproject.toml constraints.txt scripts/setup.sh && identity "$VENV/bin/python" && pwd; } | cksum
}

fresh() { [ -f "$VENV/.stamp-$1" ] && [ "$(fingerprint)" = "$(cat "$VENV/.stamp-$1")" ]; }

# One set-up at a time: `make -j test lint` calls this script twice.
lock() {
    command -v flock >/dev/null || return 0
    mkdir -p .cache
    exec 9>.cache/setup.lock
    flock 9
}

# Set-ups that were interrupted may have left half a package: begin again from an empty environment.
make_venv() {
    local python=$1
    if [ -e "$VENV" ]; then
        if [ -e "$VENV/.unfinished" ]; then
            say "the last set-up did not finish: starting afresh"
        elif [ "$(identity "$VENV/bin/python")" != "$(identity "$python")" ]; then
            say "another Python than last time: starting afresh"
        elif ! grep -qsF "$PWD/$VENV/" "$VENV/bin/pip"; then
            say "the environment was made in another folder: starting afresh"
        else
            return 0
        fi
        python=$("$python" -c 'import sys; print(sys._base_executable)')
        rm -rf "$VENV"
    fi
    say "making $VENV with $("$python" --version)"
    "$python" -m venv "$VENV" || {
        rm -rf "$VENV"
        fail "python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"
    }
}

# Twice quiet: errors only. The default would print a page a package.
pip() { "$VENV/bin/python" -m pip --quiet --quiet "$@"; }

has_nvidia_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

installed_torch() {
    "$VENV/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true
}

# offers VERSION [pip options]: whether pip's configured sources, or those of the options, hold it.
offers() {
    local version=$1 limit=()
    shift
    if command -v timeout >/dev/null; then limit=(timeout 30); fi
    "${limit[@]+"${limit[@]}"}" "$VENV/bin/python" -m pip index versions torch --timeout 5 --retries 0 "$@" \
        2>/dev/null | grep '^Available' | tr -d ',' | tr ' ' '\n' | grep -qxF "$version"
}

# PyPI's Linux wheels of torch bring the CUDA libraries, some gigabytes that help nobody without a GPU.
install_torch() {
    local version
    version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
    case "$(installed_torch)" in "$version" | "$version+"*) return 0 ;; esac
    if [ "$(uname -s)" != Linux ]; then
        say "torch $version: the package index's build for $(uname -s)"
    elif has_nvidia_gpu; then
        say "torch $version: the CUDA build, an NVIDIA GPU is present"
    elif offers "$version+cpu"; then
        say "torch $version: the CPU build (no NVIDIA GPU), from pip's configured sources"
        pip install -c constraints.txt "torch==$version+cpu"
    elif offers "$version+cpu" --index-url "$CPU_INDEX"; then
        say "torch $version: the CPU build (no NVIDIA GPU), from $CPU_INDEX"
        pip install --no-deps --index-url "$CPU_INDEX" "torch==$version+cpu"
    else
        say "torch $version: no CPU build within reach ($CPU_INDEX does not answer);" \
            "taking the package index's, which works without a GPU but is large"
    fi
}

main() {
    local python group stale=() arguments=()
    python=$(find_python)
    lock
    make_venv "$python"
    for group in base "$@"; do
        fresh "$group" || stale+=("$group")
    done
    if [ ${#stale[@]} -eq 0 ]; then return 0; fi

    touch "$VENV/.unfinished"
    trap 'say "did not finish; calling it again starts afresh"' EXIT
    pip install --upgrade 'pip>=25.1'
    install_torch
    say "installing ${stale[*]}"
    for group in "${stale[@]}"; do
        case $group in
            base) arguments+=(-e '.[pod5,video]') ;;
            *) arguments+=(--group "$group") ;;
        esac
    done
    pip install -c constraints.txt "${arguments[@]}"
    for group in "${stale[@]}"; do fingerprint >"$VENV/.stamp-$group"; done
    rm "$VENV/.unfinished"
    trap - EXIT
    say "done"
}

main "$@"
