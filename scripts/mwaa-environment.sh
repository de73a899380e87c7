#!/usr/bin/env bash
# Make the Python environment that Amazon MWAA has, in .cache/, and print its interpreter.
#
# usage: scripts/mwaa-environment.sh [--help]
#
# Made once for each content of deploy/mwaa/constraints.txt (some seconds, 260 MB); our package is not in it.
# Needs Python 3.12, as MWAA has: that of .venv, python3.12, or one of pyenv. Exit codes: 0 done, 2 none of them, 1 anything else.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/python.sh"
case ${1-} in
  --help) help_of "$0"; exit 0 ;;
  '') ;;
  *) die "unknown option: $1 (see --help)" 2 ;;
esac
cd "$root"

constraints=deploy/mwaa/constraints.txt
digest=$(sha256sum "$constraints" | cut -c1-12)
environment=$root/.cache/mwaa-$digest
if [ ! -x "$environment/bin/airflow" ]; then
  python=$(python_of 3.12) || die "expected Python 3.12, as on MWAA, found none" 2
  mkdir -p .cache
  making=$(mktemp -d .cache/making.XXXXXX)
  trap 'rm -rf "$making"' EXIT
  export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
  .venv/bin/uv venv --quiet --relocatable --python "$python" "$making/venv"
  .venv/bin/uv pip install --quiet --no-deps --python "$making/venv/bin/python" -r "$constraints"
  # Two that start at once both make one; the first to be ready is kept.
  mv -T "$making/venv" "$environment" 2>/dev/null || [ -x "$environment/bin/airflow" ] ||
    die "cannot move the new environment to $environment"
fi
printf '%s\n' "$environment/bin/python"
