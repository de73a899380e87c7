#!/usr/bin/env bash
# Release a version: bump it, date its notes in the CHANGELOG, commit, tag.
#
# usage: scripts/release.sh X.Y.Z [--dry-run] [--help]
#
# Needs a clean work tree on main and notes under "## Unreleased" in CHANGELOG.md. Pushes nothing.
# Undo before a push: git tag -d vX.Y.Z && git reset --hard HEAD~1
# Exit codes: 0 done, 1 refused, 2 usage.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
cd "$root"

version=${1-}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "expected a version X.Y.Z, was '${version}'" 2
[ -z "$(git status --porcelain)" ] || die "expected a clean work tree: commit or stash first"
[ "$(git branch --show-current)" = main ] || die "expected branch main, was $(git branch --show-current)"
git rev-parse -q --verify "refs/tags/v$version" >/dev/null && die "v$version is there already"
current=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
newest=$(printf '%s\n%s\n' "$current" "$version" | sort -V | tail -1)
[ "$newest" = "$version" ] || die "expected a version after $current, was $version"
notes=$(awk '/^## Unreleased/{on=1; next} /^## /{on=0} on' CHANGELOG.md | sed '/./,$!d')
[ -n "$notes" ] || die "CHANGELOG.md has nothing under '## Unreleased': write the notes for operators first"

if [ "${2-}" = --dry-run ]; then
  info "would release v$version (now $current) with these notes:"
  printf '%s\n' "$notes"
  exit 0
fi
sed -i "s/^version = \"$current\"/version = \"$version\"/" pyproject.toml
sed -i "s/^__version__ = \"$current\"/__version__ = \"$version\"/" src/autotrader/__init__.py
sed -i "s/^## Unreleased/## Unreleased\n\n## $version ($(date -u +%F))/" CHANGELOG.md
git commit --quiet --all --message "Release v$version"
git tag --annotate "v$version" --message "autotrader v$version" --message "$notes"
info "tagged v$version; publish with: git push --follow-tags"
