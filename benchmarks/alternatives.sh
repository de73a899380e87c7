#!/usr/bin/env bash
# Make .venv-alternatives: what the benchmarks compare with and the platform does not use.
#
#   benchmarks/alternatives.sh
#
# An environment of its own: the lock file is of what the platform needs, and nothing here may bend it. The benchmarks that name one of them run it there, in a process of its
# own, on the same data and in the same run; without this environment they say so and go on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

FOLDER=.venv-alternatives

if [[ ${1:-} == --help || $# -gt 0 ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    [[ ${1:-} == --help ]]
    exit
fi
[[ -x .venv/bin/uv ]] || { echo "expected .venv/bin/uv, was not there: run make install first" >&2; exit 1; }

export UV_PYTHON_DOWNLOADS=never
.venv/bin/uv venv --quiet --allow-existing --python .venv/bin/python "$FOLDER"
.venv/bin/uv pip install --quiet --python "$FOLDER/bin/python" \
    "vectorbt==1.*" "backtesting==0.6.*" "duckdb==2.*" pandas pyarrow
.venv/bin/uv pip list --quiet --python "$FOLDER/bin/python" | grep -E '^(vectorbt|backtesting|duckdb|numpy|numba|pandas|pyarrow) '
