#!/usr/bin/env bash
# Roll a model version out: checks, green up, tests, shadow, canary, 25, 50, 100 %, live.
#
# usage: scripts/deploy_model.sh VERSION ENVIRONMENT --reason WHY [--profile standard|fast]
#                                [--dry-run] [--yes] [--help]
#   VERSION        such as v1.2.3; must have passed its gates, and not failed since
#   ENVIRONMENT    dev, staging or production; refused unless the settings are of it
#   --reason WHY   recorded with the rollout and in the operation's journal
#   --profile      standard watches for three hours in all, fast for seconds (replayed time)
#   --dry-run      say what would be done, and change nothing
#   --yes          do not ask; for automation
#
# The controller does the work, and takes traffic back when the version is worse (exit 1). Ending this
# script does not end the rollout: run it again, and it waits on. To take it back:
# scripts/rollback_model_auto.sh VERSION ENVIRONMENT --reason WHY
# Exit codes: 0 live, 1 rolled back, 2 usage, 3 pending (what is said), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/steps.sh"

read_command_line "" "--profile" "$@"
require_words 2 "VERSION ENVIRONMENT"
require_version VERSION "${words[0]}"
require_environment "${words[1]}"
require_reason
profile=${given[--profile]-standard}
[[ $profile =~ ^(standard|fast)$ ]] || usage "expected --profile standard or fast, was '$profile'"
cd "$root"
version=${words[0]}

# shellcheck disable=SC2329 # called by step
agree() { patiently 30 verb autotrader.deployment.check_agreement --live "$version" --converge; }

know_environment "${words[1]}"
verb autotrader.registry.get --version "$version" >&2
verb autotrader.deployment.get_status >&2
if [ -n "$dry_run" ]; then
  info "dry run: would roll $version out in $environment with profile $profile; changes nothing"
  exit 0
fi
if verb autotrader.deployment.check_agreement --live "$version" >&2 2>/dev/null; then
  info "$version is live in $environment already: nothing is left to do"
  exit 0
fi
confirm "$version" "This rolls $version out in $environment with profile $profile."
begin_operation deploy "deploy_model-$version-$environment"
# shellcheck disable=SC2034 # read by verb: the watches take hours
verb_seconds=28800
step rollout "$version with profile $profile" verb autotrader.deployment.deploy --version "$version" \
  --profile "$profile" --reason "$reason" --rollout-id "${operation##*/}"
step agreement "registry, traffic and recorded state" agree
finish "$version is live in $environment after $(seconds_since "$began") s; nothing is left to do"
