#!/usr/bin/env bash
# Look at all that production stands on, in ten stages; nothing is changed.
#
# usage: scripts/production-check.sh [--only STAGE[,STAGE...]] [--details] [--json] [--patience SECONDS] [--help]
#   --only      configuration, database, venues, registry, lake, airflow, deployment, monitoring, backups, capacity
#   --details   show what is well, too
#   --json      print one JSON object, for programs
#   --patience  seconds for one stage; what takes longer is failed (default 20)
#
# Each stage is ok, warning, failed or not applicable, with the figure that says so and what to do. It asks the
# platform of the settings: whatever does not run, does not answer or cannot be reached is failed.
# Exit codes: 0 no stage failed, 1 one did, 2 usage, or a setting is wrong.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/steps.sh"
read_command_line "--json --details" "--only --patience" "$@"
require_words 0 "no words"
cd "$root"

options=()
for flag in --json --details; do
  if [ -n "${given[$flag]-}" ]; then options+=("$flag"); fi
done
if [ -n "${given[--patience]-}" ]; then options+=(--patience-seconds "${given[--patience]}"); fi
if [ -n "${given[--only]-}" ]; then
  IFS=', ' read -ra stages <<<"${given[--only]}"
  options+=(--only "${stages[@]}")
fi
[ -x "$python" ] || command -v "$python" >/dev/null || die "expected Python at $python: run scripts/install.sh" 2
verb autotrader.readiness.check "${options[@]}"
