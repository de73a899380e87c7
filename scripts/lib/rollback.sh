# shellcheck shell=bash
# The steps of a model rollback: traffic, alert, drain, scale down, registry and state. People are told
# first: the others may be pending for long, where the controller or MLflow is down. Needs the others, and
# `undo`: what the operator would type, LIVE standing for the version that is live then.
# shellcheck disable=SC2154 # set by the others

# Of autotrader.domain.thresholds; a test compares.
TRAFFIC_SECONDS=60
ROLLBACK_SECONDS=300
AGREE_SECONDS=30

# show_way VERSION [PREVIOUS]: what would be done, decided from the recorded state; refuses as the real one.
show_way() {
  verb autotrader.deployment.emergency_rollback --version "$1" ${2:+--to-version "$2"} --reason "$reason" --dry-run
}

# roll_back VERSION [PREVIOUS]
roll_back() {
  local left=$1 previous=${2-} live traffic_seconds again=''
  is_done traffic && again=1
  forget_steps traffic # asked again whatever the journal says: it does nothing where nothing is left
  step traffic "all traffic away from $left" \
    verb autotrader.deployment.emergency_rollback --version "$left" ${previous:+--to-version "$previous"} \
    --reason "$reason" --no-converge --json
  live=$(field traffic live)
  if [ "$(field traffic changed)" = True ]; then
    [ -z "$again" ] || forget_steps drain scale_down failed registry alert
    traffic_seconds=$(seconds_since "$began")
    echo "$traffic_seconds" >"$operation/traffic_seconds"
    say "traffic is on ${live:-nobody}, $traffic_seconds s after the command (target $TRAFFIC_SECONDS s)"
  else
    say "traffic was on ${live:-nobody} already"
  fi
  step_or_later alert "tell people" verb autotrader.alerts.send --level critical --key "${operation##*/}" \
    --message "model rollback in $environment: $left was left for ${live:-nobody}: $reason"
  if [ -n "${given[--keep-warm]-}" ]; then
    say "drain, scale_down: left out, $left stays warm (--keep-warm)"
  else
    step_or_later drain "requests on their way to $left" \
      verb autotrader.deployment.blue_green drain --version "$left"
    step_or_later scale_down "stop $left" stop_drained "$left"
  fi
  if [ -n "${given[--mark-failed]-}" ]; then
    step_or_later failed "$left may never be returned to" \
      verb autotrader.registry.mark_failed --version "$left" --reason "$reason"
  fi
  step_or_later registry "registry and state show ${live:-nobody}" agree --converge
  verb autotrader.deployment.get_status >&2 || later="$later${later:+, }the status, see above"
  [ -z "$later" ] || die "traffic is on ${live:-nobody}; still to do: $later" 3
  measured
  finish "$left is left, ${live:-nobody} is live; nothing is left to do. Undo: ${undo//LIVE/${live:-VERSION}}"
}

stop_drained() {
  is_done drain || return 3
  verb autotrader.deployment.blue_green scale_down --version "$1" --reason "$reason"
}

agree() { patiently "$AGREE_SECONDS" verb autotrader.deployment.check_agreement --live "${live:-nobody}" "$@"; }

measured() {
  local whole traffic=''
  whole=$(seconds_since "$began")
  echo "$whole" >"$operation/whole_seconds"
  if [ -f "$operation/traffic_seconds" ]; then
    traffic=$(<"$operation/traffic_seconds")
    say "measured: traffic back after $traffic s (target $TRAFFIC_SECONDS s), whole rollback $whole s (target $ROLLBACK_SECONDS s)"
  else
    say "measured: traffic was not moved by this run, whole rollback $whole s (target $ROLLBACK_SECONDS s)"
  fi
  traffic=${traffic%.*}
  if [ "${traffic:-0}" -ge "$TRAFFIC_SECONDS" ] || [ "${whole%.*}" -ge "$ROLLBACK_SECONDS" ]; then
    say "SLOWER THAN THE TARGET: write down why"
  fi
}
