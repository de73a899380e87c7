# shellcheck shell=bash
# Asks before something is done that matters. Needs log.sh, and `yes` of assert.sh.

# confirm WORD QUESTION: goes on if WORD is typed, or --yes was given; else ends with 4.
confirm() {
  local typed=''
  [ -z "$yes" ] || return 0
  info "$2"
  printf "Type '%s' to go on: " "$1" >&2
  IFS= read -r typed || true
  [ "$typed" = "$1" ] || die "expected '$1', was '$typed': nothing was changed" 4
}
