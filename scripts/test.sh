#!/usr/bin/env bash
# The whole suite: unit and contract tests, which hold the coverage floor, then the real processes.
#
# usage: scripts/test.sh [--help]
#
# Tests that need PostgreSQL or Redis skip, and say so, where these are not installed; `.ci/run`
# installs them. Exit codes: 0 passed, 1 not.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
cd "$root"
bin=.venv/bin
rm -f .coverage .coverage.*

$bin/pytest tests -m "not integration" -n 2 --cov --cov-report= -rfEs
$bin/coverage report --skip-covered --sort=cover | tail -25
$bin/coverage report --format=total >/dev/null || die "coverage is below the floor of pyproject.toml"
info "coverage: $($bin/coverage report --format=total) %"
# Three on two cores: these tests wait more than they work.
$bin/pytest tests -m integration -n 3 -rfEs --durations=40
