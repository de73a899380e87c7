# shellcheck shell=bash
# Messages of the shell commands: one line each, to stderr. Source it.

info() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit "${2:-1}"
}

# The header comment of the calling script is its --help.
help_of() { sed -n '2,/^$/{/^$/q;s/^# \{0,1\}//;p}' "$1"; }
