#!/usr/bin/env bash
# Build the documentation's site from README, docs/ and runbooks/. A broken link or anchor fails.
#
# usage: scripts/docs.sh [FOLDER] | --lock | --check-lock | --help
#   FOLDER        where the work and the site go; default build/docs, the site is in its site/
#   --lock        resolve docs/requirements.in into docs/requirements.lock; existing pins are kept where they fit
#   --check-lock  fail (exit 1) if the lock no longer satisfies it; change nothing
#
# The builder lives in an environment of its own, FOLDER/venv, made from docs/requirements.lock, hashes checked.
# Exit codes: 0 done, 1 failed or stale, 2 usage, 3 the builder could not be fetched.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
[ $# -le 1 ] || die "expected at most one argument, was $#: see --help" 2
cd "$root"
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
uv=.venv/bin/uv

lock() {
  "$uv" pip compile docs/requirements.in --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate --quiet --output-file "$1" >/dev/null
}

case ${1-} in
  --lock)
    lock docs/requirements.lock
    info "wrote docs/requirements.lock: $(grep -c '^[a-z0-9].*==' docs/requirements.lock) packages"
    exit 0
    ;;
  --check-lock)
    made=$(mktemp)
    trap 'rm -f "$made"' EXIT
    cp docs/requirements.lock "$made"
    lock "$made"
    cmp -s "$made" docs/requirements.lock || die "docs/requirements.lock does not match requirements.in: run scripts/docs.sh --lock"
    exit 0
    ;;
  -*) die "expected a folder, --lock or --check-lock, was '$1'" 2 ;;
esac

work=${1:-build/docs}
mkdir -p "$work"
if ! cmp -s docs/requirements.lock "$work/installed"; then
  rm -f "$work/installed"
  "$uv" venv --quiet --clear --python .venv/bin/python "$work/venv"
  "$uv" pip sync --quiet --python "$work/venv/bin/python" --require-hashes docs/requirements.lock ||
    die "the builder of the site could not be fetched: see above" 3
  cp docs/requirements.lock "$work/installed"
fi
.venv/bin/python -m autotrader.reference.site --folder "$work/source"
cp docs/site.toml "$work/zensical.toml"
builder=$(cd "$work/venv/bin" && pwd)/zensical
# Its last line is a trace where it aborts for what it has listed before.
(cd "$work" && "$builder" build --strict --clean 2>&1) | sed '/^Traceback/,$d' ||
  die "the site has broken links or anchors: see above"
info "the site is in $work/site"
