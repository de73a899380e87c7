#!/usr/bin/env bash
# Set this machine up to run autotrader under systemd, or bring it up to date.
#
# usage: deploy/setup.sh [--prefix DIR] [--no-packages] [--dry-run] [--help]
#
#   --prefix DIR    work below DIR instead of /, without accounts and without systemctl
#   --no-packages   leave /opt/autotrader/venv as it is
#   --dry-run       say what would be changed, and change nothing
#
# Makes the user `autotrader`, its folders, /opt/autotrader/venv with the packages of requirements.lock
# and this checkout, the systemd units and the rotation of /var/log/trading-bot. Run it as often as you
# like: what is as it should be is left alone, and /etc/autotrader/autotrader.env is never overwritten.
# Units are enabled, not started or stopped: when a trader restarts is for a person to say. So packages
# that have to change are refused while a unit runs: it would import half of the old and half of the new.
# PYTHON names the interpreter (3.11 to 3.13) that the venv is made with.
# Exit codes: 0 done, 1 failed, 2 usage, 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"

prefix='' packages=true dry_run=false
while [ $# -gt 0 ]; do
  case $1 in
    --help) help_of "$0"; exit 0 ;;
    --prefix) [ -n "${2-}" ] || die "expected a folder after --prefix" 2; prefix=${2%/}; shift ;;
    --no-packages) packages=false ;;
    --dry-run) dry_run=true ;;
    *) die "expected --prefix DIR, --no-packages, --dry-run or --help, was '$1'" 2 ;;
  esac
  shift
done

user=autotrader
opt=$prefix/opt/autotrader
venv=$opt/venv
etc=$prefix/etc/autotrader
units=$prefix/etc/systemd/system
changes=0 units_changed=false

[ -n "$prefix" ] || $dry_run || [ "$(id -u)" = 0 ] || die "expected root, was $(id -un): use sudo, or --prefix"
$packages || [ -n "$prefix" ] || [ -x "$venv/bin/python" ] || die "expected $venv to be there with --no-packages"

# change WHAT COMMAND...: the one place through which anything is changed.
change() {
  local what=$1
  shift
  changes=$((changes + 1))
  if $dry_run; then
    info "would $what"
  else
    info "$what"
    "$@"
  fi
}

# Below a prefix there is no such account: files belong to whoever runs this.
owned_by() { [ -n "$prefix" ] || printf -- '-o %s -g %s' "$1" "$2"; }

folder() {
  local path=$1 owner=$2 group=$3 mode=$4
  local is='' wanted="$owner:$group $mode"
  [ -d "$path" ] && is=$(stat -c '%U:%G %a' "$path")
  [ -n "$prefix" ] && { is=${is##* } wanted=$mode; }
  [ "$is" = "$wanted" ] && return
  # shellcheck disable=SC2046 # words are meant
  change "make folder $path" install -d $(owned_by "$owner" "$group") -m "$mode" "$path"
}

file() {
  local from=$1 to=$2
  cmp -s "$from" "$to" && return
  case $to in "$units"/*) units_changed=true ;; esac
  # shellcheck disable=SC2046
  change "write $to" install -D $(owned_by root root) -m 644 "$from" "$to"
}

account() {
  [ -n "$prefix" ] && return
  getent passwd "$user" >/dev/null && return
  change "make the system user $user" useradd --system --user-group --no-create-home \
    --home-dir /var/lib/autotrader --shell /usr/sbin/nologin "$user"
}

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

fill_venv() {
  local python=${PYTHON:-python3} uv_pin
  usable "$venv/bin/python" || "$python" -m venv --clear "$venv"
  uv_pin=$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' "$root/requirements.lock")
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$uv_pin"
  export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
  # The services may not write there: what is compiled is compiled now.
  "$venv/bin/uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes "$root/requirements.lock"
  "$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --no-deps --no-build-isolation \
    --reinstall-package autotrader "$root"
  printf '%s\n' "$1" >"$opt/installed"
}

require_stopped() {
  local running
  { [ -n "$prefix" ] || $dry_run || [ ! -d /run/systemd/system ]; } && return
  running=$(systemctl list-units --plain --no-legend --state=active,activating 'autotrader-*.service' | cut -d' ' -f1 | xargs)
  [ -z "$running" ] || die "expected no unit to run while packages change: systemctl stop $running" 4
}

install_packages() {
  local content
  $packages || return 0
  usable "${PYTHON:-python3}" || die "expected a Python from 3.11 to 3.13 with venv, was ${PYTHON:-python3}: set PYTHON"
  content=$(cd "$root" && find requirements.lock pyproject.toml src -type f -not -path '*/__pycache__/*' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
  [ -x "$venv/bin/python" ] && [ "$content" = "$(cat "$opt/installed" 2>/dev/null)" ] && return
  require_stopped
  change "install this checkout and its packages into $venv" fill_venv "$content"
}

environment() {
  [ -e "$etc/autotrader.env" ] && return
  # It will hold secrets: readable by root and the service alone.
  # shellcheck disable=SC2046
  change "write $etc/autotrader.env: fill it in" \
    install $(owned_by root "$user") -m 640 "$root/.env.production.example" "$etc/autotrader.env"
}

# What the machine starts: not the service that a timer starts.
own_units() {
  local unit
  for unit in "$root"/deploy/systemd/*.{service,timer}; do
    [ -e "${unit%.service}.timer" ] || printf '%s\n' "${unit##*/}"
  done
}

enable_units() {
  local unit
  if [ -n "$prefix" ] || [ ! -d /run/systemd/system ]; then
    return
  fi
  if $units_changed; then
    change "have systemd read its units again" systemctl daemon-reload
  fi
  for unit in $(own_units); do
    systemctl --quiet is-enabled "$unit" 2>/dev/null || change "enable $unit" systemctl enable --quiet "$unit"
  done
}

account
folder "$opt" root root 755
folder "$etc" root "$user" 750
folder "$prefix/var/lib/autotrader" "$user" "$user" 750
folder "$prefix/var/log/trading-bot" "$user" "$user" 750
folder "$prefix/var/backups/autotrader" "$user" "$user" 750
environment
install_packages
while IFS= read -r name; do
  file "$root/deploy/systemd/$name" "$units/$name"
done < <(cd "$root/deploy/systemd" && find . -type f -printf '%P\n' | LC_ALL=C sort)
file "$root/deploy/logrotate/autotrader" "$prefix/etc/logrotate.d/autotrader"
enable_units

if [ "$changes" = 0 ]; then
  info "nothing to change"
elif ! $dry_run; then
  info "next: fill in $etc/autotrader.env, then systemctl start $(own_units | sed 's/\.service$//' | xargs)"
fi
