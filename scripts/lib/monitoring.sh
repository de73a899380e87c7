# shellcheck shell=bash
# The parts of the monitoring stack that run from installed binaries. Needs log.sh, steps.sh and `root`.
# shellcheck disable=SC2034,SC2154 # set for, and by, those who source it

# know_monitoring: sets `folder`, and the ports of the settings.
know_monitoring() {
  know_environment ''
  folder=$home/monitoring
  local ports
  ports=$("$python" -c '
from autotrader.config.settings import load_settings
monitoring = load_settings().monitoring
print(monitoring.prometheus_port, monitoring.alertmanager_port)')
  read -r prometheus_port alertmanager_port <<<"$ports"
}

# Debian calls it by a longer name.
alertmanager_program() { command -v prometheus-alertmanager || command -v alertmanager; }
node_program() { command -v prometheus-node-exporter || command -v node_exporter; }

# The names of those that are not there, on one line.
missing_programs() {
  local name missing=()
  for name in prometheus promtool amtool; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  alertmanager_program >/dev/null || missing+=(alertmanager)
  printf '%s' "${missing[*]}"
}

# make_token COMMAND...: a token for Alertmanager, which tells the API of alerts, and for Prometheus, which reads its
# page from other hosts; COMMAND runs our verbs where the platform's database is. One that the platform knows, and that
# lasts for long enough, is left alone, and so is one of which the platform cannot be asked. Both programs read the
# file anew for each request.
token_days=90
renewed_before=60 # prod-check warns when 30 are left: what it asks for then has to make a new one
make_token() {
  local token=$folder/secrets/platform-token told
  if [ -s "$token" ]; then
    if ! told=$("$@" autotrader.access.list_tokens --json); then
      info "left      $token as it is: the platform could not be asked whether it lasts"
      return
    fi
    if lasts "$token" <<<"$told"; then return; fi
  fi
  told=$("$@" autotrader.access.create_token --identity alertmanager --scopes read operate \
    --expires-days "$token_days" --json)
  (
    umask 077
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["token"], end="")' <<<"$told" >"$token.new"
    mv "$token.new" "$token"
  )
  info "made      $token, for $token_days days"
}

# lasts FILE: whether the list of tokens has the one in it as in force, for longer than it is renewed before.
lasts() {
  "$python" -I -c '
import json, sys
from datetime import datetime, timedelta, timezone
held = open(sys.argv[1]).read()
enough = datetime.now(timezone.utc) + timedelta(days=float(sys.argv[2]))
sys.exit(not any(
    "_" + token["id"] + "_" in held
    and token["state"] == "in force" and datetime.fromisoformat(token["expires_at"]) > enough
    for token in json.load(sys.stdin)["tokens"]
))' "$1" "$renewed_before"
}

# ------------------------------------------------------------- processes, each in a group of its own

# The moment of its start tells a process from a later one of the same number.
born() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# pid_of NAME: of the process that was started under it, if that still runs.
pid_of() {
  local pid started
  read -r pid started 2>/dev/null <"$folder/run/$1" || return 1
  [ -n "$started" ] && [ "$(born "$pid")" = "$started" ] && printf '%s' "$pid"
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# begin NAME PORT PATH COMMAND...: start it unless it runs, and wait until PATH answers.
begin() {
  local name=$1 port=$2 path=$3 pid deadline=$((SECONDS + 30))
  shift 3
  if pid=$(pid_of "$name"); then
    kill -HUP "$pid" # reads its files again
    info "running   $name on 127.0.0.1:$port"
    return
  fi
  ! is_taken "$port" || die "expected port $port to be free for $name, was taken: set another one, or stop what has it"
  mkdir -p "$folder/run" "$folder/log"
  setsid "$@" >>"$folder/log/$name.log" 2>&1 </dev/null &
  pid=$!
  printf '%s %s\n' "$pid" "$(born "$pid")" >"$folder/run/$name"
  until curl --silent --fail --noproxy '*' --max-time 2 --output /dev/null "http://127.0.0.1:$port$path"; do
    pid_of "$name" >/dev/null || die "$name ended: $(tail -3 "$folder/log/$name.log")"
    [ $SECONDS -lt "$deadline" ] || die "expected $name to answer within 30 s: see $folder/log/$name.log"
    sleep 0.2
  done
  info "started   $name on 127.0.0.1:$port"
}

# The machine's one node exporter: another platform may have begun it, or begin it while we do. Debian's leaves out
# /mnt and /media unless told otherwise, where many keep their data.
node_port=9100
unwatched_mounts='^/(dev|proc|run|sys|var/lib/docker/.+)($|/)'
begin_node() {
  local node
  if node=$(node_program) && ! is_taken "$node_port"; then
    (begin node-exporter "$node_port" / "$node" --web.listen-address="127.0.0.1:$node_port" \
      --collector.filesystem.mount-points-exclude="$unwatched_mounts") || is_taken "$node_port"
  fi
}

# end NAME: the process and all of its group, asked first.
end() {
  local name=$1 pid tries
  if pid=$(pid_of "$name"); then
    kill -TERM -- "-$pid"
    for ((tries = 0; tries < 75; tries++)); do
      kill -0 -- "-$pid" 2>/dev/null || break
      sleep 0.2
    done
    if kill -0 -- "-$pid" 2>/dev/null; then kill -KILL -- "-$pid"; fi
    info "stopped   $name"
  fi
  rm -f "$folder/run/$name"
}
