# shellcheck shell=bash
# An operation of steps that may be interrupted anywhere: a lock, a journal of what is done, a log.
# Needs log.sh, and `root`. Of each operation <home>/operations/<time>-<key>/ keeps: journal, log,
# what each step printed, and `ended` with the exit code once nobody should go on with it.
# shellcheck disable=SC2034,SC2154 # set for, and by, those who source it

python=${AUTOTRADER_PYTHON:-$root/.venv/bin/python}
operation=''

# verb MODULE WORD...: our own commands, which know how long to wait; the limit is for what hangs.
verb() { timeout --foreground "${verb_seconds:-900}" "$python" -m "$@" </dev/null; }

# know_environment ENVIRONMENT: sets `environment`, `home` and `lake` from the settings; refuses
# others than the one that is named, if it is.
know_environment() {
  local name value told
  [ -x "$python" ] || command -v "$python" >/dev/null || die "expected Python at $python: run scripts/install.sh" 2
  told=$(verb autotrader.config.require_environment ${1:+--environment "$1"})
  while IFS=$'\t' read -r name value; do
    case $name in
      environment) environment=$value ;;
      home) home=$value ;;
      lake) lake=$value ;; # read by restore_all_data.sh
    esac
  done <<<"$told"
  [ -n "${environment-}" ] && [ -n "${home-}" ] && [ -n "${lake-}" ] || die "expected the settings' home, was: $told"
}

now_ms() { date +%s%3N; }

seconds_since() { # MILLISECONDS
  local spent=$(($(now_ms) - $1))
  printf '%d.%01d' $((spent / 1000)) $((spent % 1000 / 100))
}

say() { info "$(date -u +%H:%M:%S) $*"; }

# first_line_of FILE: waits up to two seconds for whoever locked it to say who that is.
first_line_of() {
  local line='' _
  for _ in {1..20}; do
    read -r line <"$1" && break
    sleep 0.1
  done
  printf '%s' "$line"
}

# begin_operation LOCK KEY: one at a time of LOCK; goes on with an operation of KEY that did not end.
# Sets `operation`, and `began` in milliseconds.
begin_operation() {
  local operations=$home/operations lock found key
  key=$(printf '%s' "$2" | tr -c 'A-Za-z0-9._-' '_')
  mkdir -p "$operations"
  lock=$operations/$1.lock
  exec 9>>"$lock"
  flock --nonblock 9 || die "refused: another one is at work, $(first_line_of "$lock")" 4
  printf 'pid %s of %s since %s: %s %s\n' $$ "$(actor)" "$(date -u +%FT%TZ)" "${0##*/}" "$2" >"$lock"
  for found in "$operations"/????????T??????Z-"$key"; do
    if [ -f "$found/journal" ] && [ ! -f "$found/ended" ]; then operation=$found; fi
  done
  if [ -z "$operation" ]; then
    operation=$operations/$(date -u +%Y%m%dT%H%M%SZ)-$key
    mkdir "$operation" || die "expected a new folder $operation, was there: wait a second, then run it again" 3
    printf 'began %s\nreason %s\nactor %s\n' "$(now_ms)" "$reason" "$(actor)" >"$operation/journal"
  else
    resumed=1
  fi
  began=$(sed -n 's/^began //p' "$operation/journal")
  exec 8>&2 2> >(exec tee -a "$operation/log" >&8)
  tee_pid=$!
  trap end_operation EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [ -n "${resumed-}" ]; then
    say "going on with ${operation##*/}, done so far: $(done_steps)"
  else
    say "${operation##*/} by $(actor): $reason"
  fi
}

actor() { printf '%s@%s' "$(id -un)" "$(hostname)"; }

done_steps() { sed -n 's/^done \([^ ]*\).*/\1/p' "$operation/journal" | paste -sd' ' | grep . || echo nothing; }

is_done() { grep -q "^done $1 " "$operation/journal"; }

# forget_steps STEP...: they are to be done again.
forget_steps() {
  local name
  for name; do sed -i "/^done $name /d" "$operation/journal"; done
}

# step NAME WHAT COMMAND...: does it unless the journal says it is done; ends the script if it fails.
step() {
  local code=0
  take_step "$@" || code=$?
  [ "$code" -eq 0 ] || exit "$code"
}

# step_or_later NAME WHAT COMMAND...: as `step`, but goes on where it is pending (3), and notes it in `later`.
later=''
step_or_later() {
  local code=0
  take_step "$@" || code=$?
  case $code in
    0) ;;
    3) later="$later${later:+, }$1" ;;
    *) exit "$code" ;;
  esac
}

# take_step NAME WHAT COMMAND...: what `step` does, but returns the exit code.
take_step() {
  local name=$1 what=$2 code=0
  shift 2
  if is_done "$name"; then
    say "$name: done before"
    return
  fi
  say "$name: $what"
  "$@" >"$operation/$name.out" || code=$?
  [ "$code" -ne 124 ] || code=3 # it hung
  if [ "$code" -eq 0 ]; then
    grep -v '^{' "$operation/$name.out" >&2 || true # what programs read is kept for them
    printf 'done %s %s\n' "$name" "$(now_ms)" >>"$operation/journal" || return 1
  else
    cat "$operation/$name.out" >&2
    say "$name: FAILED with exit code $code"
    return "$code"
  fi
}

# Repeats a command that says "pending" (3) until it no longer does, for so many seconds.
patiently() { # SECONDS COMMAND...
  local until=$((SECONDS + $1)) code
  shift
  while :; do
    code=0
    "$@" || code=$?
    if [ "$code" -ne 3 ] || [ "$SECONDS" -ge "$until" ]; then return "$code"; fi
    sleep 1
  done
}

# field STEP NAME: of the JSON that a step printed; empty for null.
field() {
  "$python" -I -c '
import json, sys
value = json.load(open(sys.argv[1]))[sys.argv[2]]
print("" if value is None else value)' "$operation/$1.out" "$2"
}

finish() {
  say "$1"
  echo 0 >"$operation/ended"
  exit 0
}

# What failed or was refused is over; what was cut off, hangs or is pending is gone on with.
end_operation() {
  local code=$?
  trap - EXIT
  case $code in
    0) ;;
    1 | 2 | 4)
      echo "$code" >"$operation/ended"
      say "ended with exit code $code; log: $operation/log"
      ;;
    *) say "NOT FINISHED (exit code $code): run the same command again to go on; log: $operation/log" ;;
  esac
  exec 2>&8
  wait "$tee_pid" || true
  exit "$code"
}
