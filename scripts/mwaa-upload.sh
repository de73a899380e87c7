#!/usr/bin/env bash
# Bring DAGs, package and requirements to the bucket that Amazon MWAA reads.
#
# usage: scripts/mwaa-upload.sh PREFIX [--dry-run] [--help]
#   PREFIX      the bucket is PREFIX-airflow
#   --dry-run   say what would be written and deleted, change nothing
#
# Prints one line an object: `unchanged|written|deleted KEY VERSION`. What has not changed is not written again, so
# that it may run twice. DAGs are read by MWAA within a minute; plugins.zip and requirements.txt only when the
# environment is updated to their versions (Terraform: plugins_version and so on of the variable airflow), which
# restarts it and takes 10 to 30 minutes. Needs the aws CLI and its credentials.
# Exit codes: 0 done, 1 failed, 2 usage.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
prefix='' dry_run=''
for word in "$@"; do
  case $word in
    --help) help_of "$0"; exit 0 ;;
    --dry-run) dry_run=1 ;;
    -*) die "unknown option: $word (see --help)" 2 ;;
    *) [ -z "$prefix" ] || die "one PREFIX is enough (see --help)" 2; prefix=$word ;;
  esac
done
[ -n "$prefix" ] || die "expected the PREFIX of the buckets (see --help)" 2
[[ $prefix =~ ^[a-z0-9][a-z0-9-]{1,40}$ ]] || die "expected a PREFIX of lower-case letters, digits and -, was $prefix" 2
command -v aws >/dev/null || die "needs the aws CLI" 2
cd "$root"

bucket=$prefix-airflow
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python deploy/mwaa/package.py "$work/out"
aws s3api head-bucket --bucket "$bucket" >/dev/null || die "cannot reach bucket $bucket"

# KEY: `DIGEST VERSION` of what lies there, `None None` if nothing does.
there() {
  aws s3api head-object --bucket "$bucket" --key "$1" --query '[Metadata.sha256, VersionId]' --output text 2>"$work/error" && return
  grep -q '404' "$work/error" || die "cannot look at s3://$bucket/$1: $(cat "$work/error")"
  echo None None
}

upload() {
  local key=$1 digest known version
  digest=$(sha256sum "$work/out/$key" | cut -d' ' -f1)
  read -r known version < <(there "$key")
  if [ "$known" = "$digest" ]; then
    echo "unchanged $key $version"
    return
  fi
  [ -n "$dry_run" ] || version=$(aws s3api put-object --bucket "$bucket" --key "$key" --body "$work/out/$key" \
    --metadata "sha256=$digest" --query VersionId --output text)
  [ -z "$dry_run" ] || version=-
  echo "${dry_run:+would be }written $key $version"
}

# The package first: a DAG that is read a minute early must not ask for what is not there yet.
for file in plugins.zip requirements.txt startup.sh; do upload "$file"; done
for file in "$work"/out/dags/*.py; do upload "dags/${file##*/}"; done

aws s3api list-objects-v2 --bucket "$bucket" --prefix dags/ --query 'Contents[].Key' --output text | tr '\t' '\n' |
  while read -r key; do
    if [ "$key" = None ] || [ -e "$work/out/$key" ]; then continue; fi
    [ -n "$dry_run" ] || aws s3api delete-object --bucket "$bucket" --key "$key" >/dev/null
    echo "${dry_run:+would be }deleted $key -"
  done
