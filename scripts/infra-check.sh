#!/usr/bin/env bash
# Everything that can be known of the Terraform without an AWS account.
#
# usage: scripts/infra-check.sh [--fast] [--all] [--folder F] [--help] [PART ...]
#   --fast      leave out the apply: for a change that you look at again and again
#   --all       plan staging, production and the DR region of production, too
#   --folder F  check this copy of terraform/
#
# The parts, all if none is named:
#   format        terraform fmt
#   modules       init, validate and test (mocked providers) of the root, of bootstrap and of every module
#   security      checkov, as terraform/checkov.lock has it
#   environments  dev planned against the local AWS (tests/fakes/aws), with the names that the Python code uses;
#                 applied, planned again (nothing may be left to do), destroyed
#
# The work is done on a copy: no state, lock or cache is left in the folder. The AWS provider comes from a plugin
# mirror where there is one (TF_PLUGIN_DIR, or below /opt), else from the registry into .cache/. JOBS (the number of
# processors) is how much runs at once.
# Exit codes: 0 clean, 1 something is not, 2 usage or no Terraform.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/stages.sh"
. "$root/scripts/lib/local_aws.sh"

folder=$root/terraform fast='' environments=(dev)
parts=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) help_of "$0"; exit 0 ;;
    --fast) fast=yes ;;
    --all) environments=(dev staging production production-dr) ;;
    --folder) folder=$(cd "${2:-/nowhere}" 2>/dev/null && pwd) || die "expected a folder, was '${2-}'" 2; shift ;;
    format | modules | security | environments) parts+=("$1") ;;
    *) die "expected format, modules, security, environments or an option, was '$1': see --help" 2 ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || parts=(format modules security environments)
cd "$root"
command -v terraform >/dev/null || die "expected Terraform on the PATH: see https://developer.hashicorp.com/terraform/install" 2
# A file that is named and missing stops every command.
[ -e "${TF_CLI_CONFIG_FILE-/}" ] || unset TF_CLI_CONFIG_FILE
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1 UV_SYSTEM_CERTS=1

work=$(mktemp -d)
trap 'stop_local_aws "$work"; rm -rf "$work"' EXIT
begin_stages "$work/stages"
copy=$work/terraform
mkdir "$copy"
# The root passes files of monitoring/ on, and some tests of the modules compare with these.
ln -s "$root/src" "$root/monitoring" "$root/.env.production.example" "$work"
tar -C "$folder" --exclude=.terraform --exclude='*.tfstate*' -cf - . | tar -C "$copy" -xf -

find_mirror() {
  local found
  for found in "${TF_PLUGIN_DIR-}" /opt/*; do
    [ ! -d "$found/registry.terraform.io/hashicorp/aws" ] || { printf '%s\n' "$found"; return; }
  done
}

mirror=$(find_mirror)
plugins=()
if [ -n "$mirror" ]; then
  plugins=(-plugin-dir="$mirror")
  find "$copy" -name .terraform.lock.hcl -delete # its hashes are of the registry's archives
else
  export TF_PLUGIN_CACHE_DIR=$root/.cache/terraform TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE=1
  mkdir -p "$TF_PLUGIN_CACHE_DIR"
fi

# One after the other where they fill the cache: Terraform does not keep two apart.
initialise() { # FOLDER OPTION...
  local alone=()
  [ -n "$mirror" ] || alone=(flock "$TF_PLUGIN_CACHE_DIR.lock")
  "${alone[@]}" terraform -chdir="$1" init -no-color "${plugins[@]}" "${@:2}"
}

# Its own init, validate and tests.
examine() {
  local name=${1#"$copy"}
  name=${name#/}
  name=${name:-root}
  stage "init $name" initialise "$1" -backend=false || return 0
  stage "validate $name" terraform -chdir="$1" validate -no-color || return 0
  if compgen -G "$1/tests/*.tftest.hcl" >/dev/null; then
    stage "test $name" terraform -chdir="$1" test -no-color || true
  fi
}

# In an environment of its own: it wants other versions of what we use.
checkov() {
  local venv=$root/.cache/checkov lock=$root/terraform/checkov.lock
  mkdir -p "$root/.cache"
  (
    flock 9 # another check may be making it
    if ! sha256sum --check --status "$venv/installed" 2>/dev/null; then
      rm -rf "$venv"
      .venv/bin/uv venv --quiet --python .venv/bin/python "$venv"
      .venv/bin/uv pip sync --quiet --python "$venv/bin/python" --require-hashes "$lock"
      sha256sum "$lock" >"$venv/installed"
    fi
  ) 9>"$venv.lock"
  (cd "$copy" && "$venv/bin/checkov" --directory . --framework terraform --quiet --compact --skip-download)
}

plan() {
  terraform -chdir="$environment" plan "${quietly[@]}" -out="$1.plan" -var-file="environments/$1.tfvars" \
    "${local_variables[@]}" &&
    terraform -chdir="$environment" show -json "$1.plan" >"$environment/$1.json"
}

# What the local AWS cannot do at all is left out (MWAA), and what fails is not tried for minutes.
local_variables=(-var 'airflow={"enabled":false}' -var max_retries=2)
quietly=(-no-color -lock=false -parallelism=20)
environment=$work/environment

# What waits in the DR region looks for what production made: its zone, the copies' key, the copied secrets.
leave_copies() {
  terraform -chdir="$environment" apply "${quietly[@]}" -state=production.tfstate -auto-approve \
    -var-file=environments/production.tfvars "${local_variables[@]}" \
    -target='aws_route53_zone.public' -target='module.copies' -target='module.secrets'
}

# The environments against the local AWS; dev is made and unmade.
live() {
  local name dev=("${quietly[@]}" -var-file=environments/dev.tfvars "${local_variables[@]}")
  cp -r "$copy" "$environment"
  printf 'terraform {\n  backend "local" {}\n}\n' >"$environment/backend_override.tf"
  stage "start the local AWS" start_local_aws "$work" || return 0
  stage "init for the local AWS" initialise "$environment" || return 0
  for name in "${environments[@]}"; do
    [ "$name" != production-dr ] || stage "what production leaves for its DR region" leave_copies || continue
    stage "plan $name" plan "$name" || continue
    stage "names of $name" .venv/bin/python -m tests.terraform.names "$environment/$name.json" || true
  done
  [ -z "$fast" ] && [ -e "$environment/dev.json" ] || return 0
  if stage "apply dev" terraform -chdir="$environment" apply "${quietly[@]}" dev.plan; then
    stage "plan dev again: nothing to do" terraform -chdir="$environment" plan "${dev[@]}" -detailed-exitcode || true
  fi
  # Of what the state tells: nobody else has been at work.
  stage "destroy dev" terraform -chdir="$environment" destroy "${dev[@]}" -refresh=false -auto-approve || true
}

examine_all() {
  local versions
  for versions in "$copy"/versions.tf "$copy"/bootstrap/versions.tf "$copy"/modules/{*,*/*}/versions.tf; do
    [ ! -e "$versions" ] || in_parallel examine "$(dirname "$versions")"
  done
}

wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# The longest first, so that the others fill the time beside it.
! wanted format || stage "fmt" terraform fmt -check -diff -recursive "$copy" || true
! wanted environments || in_parallel live
! wanted security || in_parallel stage "checkov" checkov
! wanted modules || examine_all
end_stages
