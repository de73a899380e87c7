#!/usr/bin/env bash
# Write deploy/mwaa/requirements.txt: what Amazon MWAA installs beside its own packages.
#
# usage: scripts/mwaa-requirements.sh [--check] [--help]
#   --check   fail (exit 1) if the file is stale, or the DAGs do not parse with what MWAA has; change nothing
#
# It is this package alone, without its dependencies (steps run on ECS, in the platform image), pinned to the
# version of pyproject.toml. Without dependencies and an index there is nothing to resolve: --check compares the
# file, and parses the DAGs, and so all that they import at that time, with what deploy/mwaa/constraints.txt holds.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
case ${1-} in
  --help) help_of "$0"; exit 0 ;;
  '' | --check) ;;
  *) die "unknown option: $1 (see --help)" 2 ;;
esac
cd "$root"

target=deploy/mwaa/requirements.txt
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
[ -n "$version" ] || die "expected a version in pyproject.toml, was none"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wanted=$work/wanted
cat >"$wanted" <<END
# Made by scripts/mwaa-requirements.sh. The wheel is in plugins.zip, made without dependencies; with --no-index,
# nothing is asked of a package index.
--constraint "/usr/local/airflow/plugins/constraints.txt"
--no-index
--find-links "/usr/local/airflow/plugins"
autotrader==$version+mwaa
END

if [ "${1-}" = --check ]; then
  cmp -s "$wanted" "$target" || die "$target is stale: run scripts/mwaa-requirements.sh"
  python=$(scripts/mwaa-environment.sh)
  PYTHONPATH=src AIRFLOW_HOME=$work/airflow "$python" tests/dags/parse_dags.py dags/*.py >/dev/null ||
    die "the DAGs do not parse with what deploy/mwaa/constraints.txt holds"
else
  cp "$wanted" "$target"
  chmod 644 "$target"
  info "$target: autotrader $version"
fi
