#!/usr/bin/env bash
# Resolve pyproject.toml into requirements.lock: one lock for Python 3.11 to 3.13, hashes included.
#
# usage: scripts/lock.sh [--check] [--help]
#   --check   fail (exit 1) if the lock no longer satisfies pyproject.toml; change nothing
#
# Existing pins are kept where they still fit. To upgrade: UV_UPGRADE=1 scripts/lock.sh

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
cd "$root"

target=requirements.lock
if [ "${1-}" = --check ]; then
  target=$(mktemp)
  trap 'rm -f "$target"' EXIT
  cp requirements.lock "$target"
fi
.venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev \
  --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file "$target" >/dev/null
if [ "${1-}" = --check ] && ! cmp -s "$target" requirements.lock; then
  die "requirements.lock does not match pyproject.toml: run scripts/lock.sh"
fi
