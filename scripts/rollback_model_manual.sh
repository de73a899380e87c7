#!/usr/bin/env bash
# Go from the live model version back to one that you name.
#
# usage: scripts/rollback_model_manual.sh PREVIOUS CURRENT ENVIRONMENT --reason WHY [--mark-failed]
#                                         [--keep-warm] [--dry-run] [--yes] [--help]
#   PREVIOUS       the version to return to, such as v1.1.0; must have passed its gates, and not failed since
#   CURRENT        the version to leave; refused unless it is live (one that is only being rolled
#                  out is left by rollback_model_auto.sh)
#   ENVIRONMENT    dev, staging or production; refused unless the settings are of it
#   --reason WHY   recorded with the rollout, in the event log and in the operation's journal
#   --mark-failed  CURRENT may never serve again; without, the rollback can be rolled back
#   --keep-warm    do not stop CURRENT, so that a return to it takes a second instead of minutes
#   --dry-run      say what would be done, and change nothing
#   --yes          do not ask; for automation
#
# Where PREVIOUS is not kept warm, the controller starts and tests it first; traffic moves once it is
# ready, and stays where it is if it never is (exit 1). In order: traffic, alert, drain,
# scale down, registry and state; then it checks that all of these agree. Times are taken from the
# confirmation on. Cut off or pending (exit 3)? Run it again: it goes on.
# Undo: the same command with both versions exchanged.
# Exit codes: 0 done, 1 failed, 2 usage, 3 pending (what is said), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/steps.sh"
. "$root/scripts/lib/rollback.sh"

read_command_line "--mark-failed --keep-warm" "" "$@"
require_words 3 "PREVIOUS CURRENT ENVIRONMENT"
require_version PREVIOUS "${words[0]}"
require_version CURRENT "${words[1]}"
require_environment "${words[2]}"
require_reason
cd "$root"
previous=${words[0]} current=${words[1]}
# shellcheck disable=SC2034 # read by rollback.sh
undo="scripts/rollback_model_manual.sh $current $previous ${words[2]} --reason WHY"

know_environment "${words[2]}"
if [ -n "$dry_run" ] || [ -z "$yes" ]; then show_way "$current" "$previous" >&2; fi
[ -z "$dry_run" ] || exit 0
confirm "$environment" "This moves live traffic of $environment."
begin_operation rollback "rollback_model_manual-$previous-$current-$environment"
roll_back "$current" "$previous"
