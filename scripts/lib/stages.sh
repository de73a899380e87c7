# shellcheck shell=bash
# Stages of a check: each says ok or FAILED and how long it took, some beside others. Source it after log.sh.

begin_stages() {
  stages_folder=$1
  stages_running=()
  mkdir -p "$stages_folder"
}

# stage NAME COMMAND...: run it, say how it went; what a failed one said follows.
stage() {
  local name=$1 begun=$EPOCHSECONDS said
  shift
  said=$(mktemp "$stages_folder/said.XXXXXX")
  if "$@" >"$said" 2>&1; then
    info "$(printf 'ok      %-40s %4d s' "$name" $((EPOCHSECONDS - begun)))"
    return 0
  fi
  # Terraform says what is wrong after all that it did.
  info "$(printf 'FAILED  %-40s %4d s\n' "$name" $((EPOCHSECONDS - begun)); (grep -A999 -E '^(│ )?Error' "$said" || tail -60 "$said") | head -100 | sed 's/^/        /')"
  printf '%s\n' "$name" >>"$stages_folder/failed"
  return 1
}

# in_parallel COMMAND...: in the background, at most JOBS at once.
in_parallel() {
  while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-$(nproc)}" ]; do
    wait -n || true
  done
  "$@" &
  stages_running+=($!)
}

# Wait for all; fail if one did.
end_stages() {
  local process broken=''
  for process in "${stages_running[@]}"; do
    wait "$process" || [ -s "$stages_folder/failed" ] || broken=yes
  done
  [ -z "$broken" ] || die "a check ended before it said how it went"
  [ ! -s "$stages_folder/failed" ] || die "failed: $(paste -sd, "$stages_folder/failed" | sed 's/,/, /g')"
}
