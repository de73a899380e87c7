#!/usr/bin/env bash
# Go on in the other region: database, serving, services, names, and last the trader, halted.
#
# usage: scripts/dr_failover.sh --to-region REGION --reason WHY [options] [--help]
#
#   --to-region REGION     home or the DR region; going back is the same command
#   --reason WHY           kept in the event log
#   --dry-run              check everything, change nothing
#   --yes                  do not ask; otherwise the region has to be typed
#   --lost-at TIME         since when the other region is lost (UTC, ISO 8601); default: now
#   --accept-data-loss     go on with a snapshot that is older than 1 h
#   --trader-is-stopped    I vouch that the other region's trader can send no orders: its keys are revoked
#   --take-over            the process that failed over before me is dead
#   --json                 print one JSON object
#
# Every step looks at what is and is written down in the backups bucket of REGION: after a failure, run
# the same command again. PYTHON names the interpreter. Runs where the database of REGION can be reached.
# Exit codes: 0 done, 1 failed, 2 usage, 3 unreachable or something is pending, 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"

region='' reason='' yes=false options=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) help_of "$0"; exit 0 ;;
    --to-region) [ -n "${2-}" ] || die "expected a region after --to-region" 2; region=$2; shift ;;
    --reason) [ -n "${2-}" ] || die "expected a reason after --reason: say why" 2; reason=$2; shift ;;
    --lost-at) [ -n "${2-}" ] || die "expected a time after --lost-at" 2; options+=(--lost-at "$2"); shift ;;
    --yes) yes=true ;;
    --dry-run | --accept-data-loss | --trader-is-stopped | --take-over | --json) options+=("$1") ;;
    *) die "expected one of the options that --help lists, was '$1'" 2 ;;
  esac
  shift
done
[ -n "$region" ] || die "expected --to-region REGION" 2
[ -n "$reason" ] || die "expected --reason WHY" 2
if $yes; then
  options+=(--confirm "$region")
fi
exec "${PYTHON:-$root/.venv/bin/python}" -m autotrader.continuity failover \
  --to-region "$region" --reason "$reason" ${options[@]+"${options[@]}"}
