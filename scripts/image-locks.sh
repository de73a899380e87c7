#!/usr/bin/env bash
# Derive the lock of each container image from requirements.lock, so that no version ever differs.
#
# usage: scripts/image-locks.sh [--check] [--help]
#   --check   fail (exit 1) if a lock is not what it would be made to; change nothing
#
# Reads images/<name>/requirements.in, writes images/<name>/requirements.lock, hashes included. Run it after
# scripts/lock.sh. Exit codes: 0 done, 1 failed or stale, 2 usage.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
case ${1-} in '' | --check) ;; *) die "expected --check or nothing, was '$1'" 2 ;; esac
cd "$root"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# For what the images run: Python 3.12 on Linux. The hashes are of all files of a version, those for ARM too.
compile() {
  UV_SYSTEM_CERTS=1 .venv/bin/uv pip compile "$1" --constraint requirements.lock --python-version 3.12 \
    --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-package autotrader --no-emit-index-url --no-header --no-annotate --quiet \
    --output-file "$2" >/dev/null
}

stale=()
for source in images/*/requirements.in; do
  name=$(basename "$(dirname "$source")")
  lock=images/$name/requirements.lock
  made=$work/$name.lock
  # As it stands, so that a newer file of a pinned version changes nothing.
  [ ! -e "$lock" ] || cp "$lock" "$made"
  compile "$source" "$made" || die "cannot derive $lock from requirements.lock: see above; is it older than pyproject.toml?"
  if cmp -s "$made" "$lock"; then
    continue
  elif [ "${1-}" = --check ]; then
    stale+=("$lock")
  else
    cp "$made" "$lock"
    info "wrote $lock: $(grep -c '^[a-z0-9].*==' "$lock") packages"
  fi
done
[ ${#stale[@]} -eq 0 ] || die "expected what requirements.lock says in ${stale[*]}: run scripts/image-locks.sh"
