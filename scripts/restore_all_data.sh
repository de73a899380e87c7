#!/usr/bin/env bash
# Rebuild all bars, their history and the quarantine from the archive, and put them into the lake.
#
# usage: scripts/restore_all_data.sh --reason WHY [--accept-loss] [--no-airflow] [--dry-run] [--yes]
#        scripts/restore_all_data.sh --undo NAME --reason WHY [--no-airflow] [--dry-run] [--yes]
#   --reason WHY   recorded in the event log and in the operation's journal
#   --undo NAME    put back the tables that stood before; a restore that is done tells the NAME
#   --accept-loss  go on although bars stand in the lake that the archive does not have
#   --no-airflow   do not ask Airflow whether data_pipeline runs; stop what writes the lake yourself
#   --dry-run      show what stands and from what it would be rebuilt, and change nothing
#   --yes          do not ask; for automation
#
# Deletes nothing: builds beside the lake's tables (<lake>/_rebuilt-NAME), compares, then swaps; what
# stood is set aside (<lake>/_set_aside-NAME) until you delete it. Features, labels and predictions
# stay as they are. Refused while data_pipeline runs. A lake on s3:// is rebuilt in its place, and
# refused while it has such tables: move those aside first. Cut off? Run it again: it goes on.
# Exit codes: 0 done, 1 failed, 2 usage, 3 pending (what is said), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/steps.sh"

read_command_line "--accept-loss --no-airflow" "--undo" "$@"
require_words 0 "options only"
require_reason
undo=${given[--undo]-}
[ -z "$undo" ] || [[ $undo =~ ^[0-9]{8}T[0-9]{6}Z-restore_all_data$ ]] || usage "expected --undo NAME of a restore, was '$undo'"
cd "$root"

swap() { # NAME WORD...
  verb autotrader.ingestion.swap_rebuilt --name "$1" --reason "$reason" ${undo:+--undo} "${@:2}"
}

# shellcheck disable=SC2329 # called by step
require_idle() {
  [ -n "${given[--no-airflow]-}" ] || verb autotrader.apps.operations.reprocess --require-idle
}

know_environment ""
in_place=''
[[ $lake != *://* || $lake == file://* ]] || in_place=1
[ -z "$in_place" ] || [ -z "$undo" ] || die "expected a lake in a folder to undo, was $lake: point AUTOTRADER_LAKE__URI back" 2
if [ -n "$in_place" ]; then
  info "would rebuild the bars of $lake in their place; refused while there are any"
else
  swap "${undo:-new}" --dry-run >&2
fi
[ -z "$dry_run" ] || exit 0
confirm "$environment" "This replaces the bars in the lake of $environment. Nothing may write them meanwhile."
begin_operation data "restore_all_data${undo:+-undo-$undo}"
# shellcheck disable=SC2034 # read by verb: years of pages take a while
verb_seconds=14400
name=${undo:-${operation##*/}}
step idle "nothing writes the lake" require_idle
if [ -n "$undo" ]; then
  step swap "what stood before, put back" swap "$undo"
  finish "the tables of before stand again; nothing is left to do"
fi
if [ -n "$in_place" ]; then
  step rebuild "all pages of the archive" verb autotrader.ingestion.rebuild --key "$name"
  finish "rebuilt in $lake; nothing is left to do"
fi
step rebuild "all pages of the archive, beside the lake" \
  verb autotrader.ingestion.rebuild --into "${lake#file://}/_rebuilt-$name" --key "$name"
step idle_still "nothing began to write the lake" require_idle
step swap "the rebuilt tables, into the lake" swap "$name" ${given[--accept-loss]+--accept-loss}
finish "done, nothing is left to do. Undo: scripts/restore_all_data.sh --undo $name --reason WHY"
