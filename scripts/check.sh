#!/usr/bin/env bash
# Everything that CI checks without running the code: lint, types, layers, shell, spelling, generated files.
#
# usage: scripts/check.sh [--help]
#
# Runs all checks and names those that failed. Exit codes: 0 clean, 1 something is not.

set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
[ "${1-}" = --help ] && { help_of "$0"; exit 0; }
cd "$root" || exit 1
bin=.venv/bin
failed=()

check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    info "ok      $name"
  else
    info "FAILED  $name"
    printf '%s\n' "$output" >&2
    failed+=("$name")
  fi
}

terraform_format() {
  command -v terraform >/dev/null || { printf 'skipped: terraform is not installed\n'; return 0; }
  env -u TF_CLI_CONFIG_FILE terraform fmt -check -recursive -diff terraform
}

mapfile -t shell_files < <(git ls-files -co --exclude-standard 'scripts/*.sh' 'scripts/lib/*.sh' 'deploy/*.sh' '.ci/run')
mapfile -t prose < <(git ls-files -co --exclude-standard '*.md' '*.py' '*.sh' '*.toml' '*.yml')
check "lint" $bin/ruff check .
check "format" $bin/ruff format --check .
check "types" $bin/mypy
check "layers" $bin/lint-imports --no-cache
check "shell" $bin/shellcheck -x "${shell_files[@]}"
check "spelling" $bin/codespell "${prose[@]}"
mapfile -t tracked < <(git ls-files -- . ':!*requirements.lock' ':!terraform/checkov.lock' ':!.secrets.baseline')
check "secrets" $bin/detect-secrets-hook --baseline .secrets.baseline "${tracked[@]}"
check "lock" scripts/lock.sh --check
check "image locks" scripts/image-locks.sh --check
check "docs lock" scripts/docs.sh --check-lock
check "terraform format" terraform_format
check "alert rules" $bin/python -m autotrader.monitoring.rules --check
check "runbooks" $bin/python -m autotrader.monitoring.runbooks --check
check "generated files" $bin/python -m autotrader.config.example --check
check "generated pages" $bin/python -m autotrader.reference --check

[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
