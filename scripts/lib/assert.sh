# shellcheck shell=bash
# What a command was given: read, and refused with exit code 2 before anything is done. Needs log.sh.
# shellcheck disable=SC2034 # set for those who source it

# read_command_line FLAGS VALUED WORD...: sets `words`, `dry_run`, `yes`, `reason` and, of the
# command's own options (FLAGS take no value, VALUED take one), `given`.
read_command_line() {
  local flags=" $1 " valued=" $2 --reason " name value
  shift 2
  words=() dry_run='' yes=''
  declare -gA given=()
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h) help_of "$0"; exit 0 ;;
      --dry-run) dry_run=1 ;;
      --yes) yes=1 ;;
      --*)
        name=${1%%=*}
        if [[ $valued == *" $name "* ]]; then
          if [[ $1 == *=* ]]; then
            value=${1#*=}
          else
            if [ $# -lt 2 ] || [[ $2 == --* ]]; then usage "$name wants a value, was none"; fi
            value=$2
            shift
          fi
          [ -n "$value" ] || usage "$name wants a value, was empty"
          given[$name]=$value
        elif [[ $flags == *" $1 "* ]]; then
          given[$name]=1
        else
          usage "there is no option $1"
        fi
        ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  reason=${given[--reason]-}
}

usage() {
  info "$(help_of "$0" | grep -m1 '^usage:')"
  die "$1: --help tells more" 2
}

require_words() { # COUNT NAMES
  [ ${#words[@]} -eq "$1" ] || usage "expected $2, was ${#words[@]} words"
}

require_reason() {
  [[ $reason =~ [^[:space:]] ]] || usage "expected --reason, was none: say why, it is recorded"
  [[ $reason != *$'\n'* ]] || usage "expected a reason of one line, was several"
}

require_version() { # NAME VALUE
  [[ $2 =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || usage "expected $1 such as v1.2.3, was '$2'"
}

require_environment() {
  [[ $1 =~ ^(dev|staging|production)$ ]] || usage "expected ENVIRONMENT dev, staging or production, was '$1'"
}

require_date() {
  if ! [[ $1 =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || [ "$(date -u -d "$1" +%F 2>/dev/null)" != "$1" ]; then
    usage "expected a date such as 2024-02-29, was '$1'"
  fi
}

require_instrument() {
  [[ $1 =~ ^([a-z]+:)?[A-Za-z0-9._-]+$ ]] || usage "expected an instrument such as BTCUSDT or binance:BTCUSDT, was '$1'"
}

require_command() { # COMMAND HOW
  command -v "$1" >/dev/null || die "expected the command $1, was not found: $2" 2
}
