#!/usr/bin/env bash
# Take the bars of a day back out of the lake, and hold them out, or undo that.
#
# usage: scripts/rollback_data.sh DATE [INSTRUMENT] --reason WHY [--no-reprocess] [--dry-run] [--yes]
#        scripts/rollback_data.sh DATE [INSTRUMENT] --undo HOLD --reason WHY [--no-reprocess] [--dry-run] [--yes]
#   DATE            the day, UTC, such as 2024-02-29
#   INSTRUMENT      such as BTCUSDT or binance:BTCUSDT; every instrument if left out
#   --undo HOLD     put back what this hold took back; DATE and INSTRUMENT say what is derived again
#   --reason WHY    recorded with the hold, in the event log and in the operation's journal
#   --no-reprocess  do not have Airflow derive the day again
#   --dry-run       show the blast radius (bars, derived rows, models), and change nothing
#   --yes           do not ask; for automation
#
# Destroys nothing: the bars go into history, and while the hold is in force no load brings them
# back. Then data_pipeline derives the features of the day again (mode reprocess). Features, models
# and predictions that used the bars are named, and left to you. Cut off? Run it again: it goes on.
# Undo: scripts/rollback_data.sh DATE [INSTRUMENT] --undo HOLD --reason WHY
# Exit codes: 0 done, 1 failed, 2 usage, 3 pending (what is said), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/steps.sh"

read_command_line "--no-reprocess" "--undo" "$@"
[ ${#words[@]} -eq 2 ] || require_words 1 "DATE or DATE INSTRUMENT"
require_date "${words[0]}"
day=${words[0]} instrument=${words[1]-} hold=${given[--undo]-}
[ -z "$instrument" ] || require_instrument "$instrument"
[ -z "$hold" ] || [[ $hold =~ ^hold-[0-9a-f]+$ ]] || usage "expected --undo hold-..., was '$hold'"
require_reason
cd "$root"

what=(--date "$day" ${instrument:+--instrument "$instrument"})
if [ -n "$hold" ]; then rollback=(--undo "$hold"); else rollback=("${what[@]}"); fi

take_back() {
  verb autotrader.data.rollback "${rollback[@]}" --actor "$(actor)" --reason "$reason" "$@"
}

know_environment ""
take_back --dry-run >&2
[ -z "$dry_run" ] || exit 0
confirm "$environment" "This changes which bars of $day stand in the lake of $environment."
begin_operation data "rollback_data-$day-${instrument:-all}${hold:+-undo-$hold}"
step rollback "${hold:+undo of $hold, }bars of $day, ${instrument:-all instruments}" take_back
if [ -n "${given[--no-reprocess]-}" ]; then
  say "reprocess: left out (--no-reprocess): features still are those of before"
else
  step reprocess "data_pipeline derives the day again" verb autotrader.apps.operations.reprocess \
    "${what[@]}" --run-id "${operation##*/}"
fi
taken=$(sed -n 's/.*\(hold-[0-9a-f]*\).*/\1/p;T;q' "$operation/rollback.out")
if [ -n "$hold" ]; then
  finish "$hold is undone; nothing is left to do"
fi
finish "done, nothing is left to do. Undo: scripts/rollback_data.sh $day ${instrument:+$instrument }--undo $taken --reason WHY"
