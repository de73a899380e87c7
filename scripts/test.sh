#!/usr/bin/env bash
# The whole suite with its coverage floor: unit and contract tests in parallel, then the real processes.
#
# usage: scripts/test.sh [--help]
#
# Tests that need PostgreSQL, Redis or Chromium skip, and say so, where these are not installed; `.ci/run`
# installs them. Exit codes: 0 passed, 1 not.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
cd "$root"
bin=.venv/bin
rm -f .coverage .coverage.*

export COVERAGE_PROCESS_START=$root/pyproject.toml
$bin/coverage run -m pytest tests -m "not integration" -n 2 --dist loadgroup -rs
$bin/coverage run -m pytest tests -m integration -rs
$bin/coverage combine --quiet
$bin/coverage report --skip-covered --format=total >/dev/null || { $bin/coverage report --skip-covered; die "coverage is below its floor"; }
info "coverage: $($bin/coverage report --format=total) %"
