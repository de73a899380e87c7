#!/usr/bin/env bash
# Bring the bars of a day back into the lake from the archive of raw pages.
#
# usage: scripts/restore_data.sh --date D --reason WHY [--instrument I] [--no-reprocess]
#                                [--dry-run] [--yes] [--help]
#   --date D        the day, UTC, such as 2024-02-29
#   --instrument I  such as BTCUSDT or binance:BTCUSDT; all that the archive has of the day if left out
#   --reason WHY    recorded in the event log and in the operation's journal
#   --no-reprocess  do not have Airflow derive the day again
#   --dry-run       show what would come back and the blast radius, and change nothing
#   --yes           do not ask; for automation
#
# Deletes nothing: bars that are missing come back; those that differ from the stored ones are
# recorded as restatements. Asks no venue. A hold on these bars is respected: it refuses and names
# it. If the archive has nothing of the day, the nearest days that it has are named (exit 1).
# Cut off? Run it again: it goes on.
# Undo: scripts/rollback_data.sh D [I] --reason WHY
# Exit codes: 0 done, 1 failed, 2 usage, 3 pending (what is said), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/steps.sh"

read_command_line "--no-reprocess" "--date --instrument" "$@"
require_words 0 "options only"
day=${given[--date]-} instrument=${given[--instrument]-}
[ -n "$day" ] || usage "expected --date, was none"
require_date "$day"
[ -z "$instrument" ] || require_instrument "$instrument"
require_reason
cd "$root"

what=(--date "$day" ${instrument:+--instrument "$instrument"})

know_environment ""
verb autotrader.ingestion.restore "${what[@]}" --reason "$reason" --dry-run >&2
[ -z "$dry_run" ] || exit 0
confirm "$environment" "This stores bars of $day in the lake of $environment."
begin_operation data "restore_data-$day-${instrument:-all}"
step restore "bars of $day, ${instrument:-all instruments}" \
  verb autotrader.ingestion.restore "${what[@]}" --reason "$reason"
if [ -n "${given[--no-reprocess]-}" ]; then
  say "reprocess: left out (--no-reprocess): features still are those of before"
else
  step reprocess "data_pipeline derives the day again" verb autotrader.apps.operations.reprocess \
    "${what[@]}" --run-id "${operation##*/}"
fi
finish "done, nothing is left to do. Undo: scripts/rollback_data.sh $day ${instrument:+$instrument }--reason WHY"
