#!/usr/bin/env bash
# Leave a bad model version: all traffic goes back to the version that was live before it.
#
# usage: scripts/rollback_model_auto.sh VERSION ENVIRONMENT --reason WHY [--mark-failed] [--keep-warm]
#                                       [--dry-run] [--yes] [--help]
#   VERSION        the bad version, such as v1.2.3: what to leave, not what to return to
#   ENVIRONMENT    dev, staging or production; refused unless the settings are of it
#   --reason WHY   recorded with the rollout, in the event log and in the operation's journal
#   --mark-failed  it may never serve again; without, the rollback can be rolled back
#   --keep-warm    do not stop it, so that a return to it takes a second instead of minutes
#   --dry-run      say what would be done, and change nothing
#   --yes          do not ask; for automation
#
# If VERSION is being rolled out, it is taken back; if it is live, on whichever colour, the version
# before it takes over, which must have passed its gates. If it is neither, nothing is left to do
# (exit 0): asked twice, it never leaves another version. In order: traffic, alert, drain,
# scale down, registry and state; then it checks that all of these agree. Times are taken from the
# confirmation on. Cut off or pending (exit 3)? Run it again: it goes on.
# Undo: scripts/rollback_model_manual.sh VERSION <the version that is live then> ENVIRONMENT
# Exit codes: 0 done, 1 failed, 2 usage, 3 pending (what is said), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/steps.sh"
. "$root/scripts/lib/rollback.sh"

read_command_line "--mark-failed --keep-warm" "" "$@"
require_words 2 "VERSION ENVIRONMENT"
require_version VERSION "${words[0]}"
require_environment "${words[1]}"
require_reason
cd "$root"
version=${words[0]}
# shellcheck disable=SC2034 # read by rollback.sh
undo="scripts/rollback_model_manual.sh $version LIVE ${words[1]} --reason WHY"

know_environment "${words[1]}"
if [ -n "$dry_run" ] || [ -z "$yes" ]; then show_way "$version" >&2; fi
[ -z "$dry_run" ] || exit 0
confirm "$environment" "This moves live traffic of $environment."
begin_operation rollback "rollback_model_auto-$version-$environment"
roll_back "$version"
