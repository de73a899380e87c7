#!/usr/bin/env bash
# Make .venv with exactly the packages of requirements.lock, and autotrader in it.
#
# usage: scripts/install.sh [--help]
#
# Needs git, make and a Python from 3.11 to 3.13 with venv. PYTHON names another interpreter.
# Nothing is installed outside .venv. Run again after a change of the lock; it is quick.
# Exit codes: 0 done, 2 no usable Python, 1 anything else.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
cd "$root"

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON-} python3.12 python3.13 python3.11 python3 python; do
    if usable "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  die "expected a Python from 3.11 to 3.13 with venv (Debian: apt-get install python3-venv), found none: set PYTHON to one" 2
}

bin=.venv/bin
if ! usable "$bin/python"; then
  python=$(find_python)
  info "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi

# The lock pins uv too; pip is only there to fetch it.
uv_pin=$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock)
if [ "$("$bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "${uv_pin#uv==}" ]; then
  "$bin/python" -m pip install --quiet --disable-pip-version-check "$uv_pin"
fi
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
"$bin/uv" pip sync --quiet --python "$bin/python" --require-hashes requirements.lock
"$bin/uv" pip install --quiet --python "$bin/python" --no-deps --no-build-isolation --editable .
sha256sum requirements.lock pyproject.toml >.venv/installed
info "installed: $("$bin/python" --version), $("$bin/uv" pip list --python "$bin/python" --quiet 2>/dev/null | tail -n +3 | wc -l) packages in .venv"
