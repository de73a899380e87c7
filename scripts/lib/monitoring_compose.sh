# shellcheck shell=bash
# The monitoring stack in containers, docker-compose.monitoring.yml. Needs log.sh, steps.sh, monitoring.sh and `root`.
# shellcheck disable=SC2034,SC2154 # set for, and by, those who source it

# Where containers see the folder of secrets.
secrets_inside=/run/autotrader

# know_compose: sets `folder` to that of the containers, and `prometheus_port` to the one on this machine.
know_compose() {
  docker compose version >/dev/null 2>&1 ||
    die "expected Docker with Compose, was none: install them, or use --native" 2
  folder=$home/monitoring-compose
  prometheus_port=$(of_compose PROMETHEUS_PORT 9090)
  # The platform's own file is another one of the same project: its containers are no orphans.
  export MONITORING_FOLDER=$folder MONITORING_USER
  MONITORING_USER=$(id -u):$(id -g)
  export COMPOSE_IGNORE_ORPHANS=true
}

# of_compose NAME DEFAULT: a variable as Compose has it, from the environment, else .env.
of_compose() {
  local value=${!1-}
  if [ -z "$value" ] && [ -f .env ]; then value=$(sed -n "s/^$1=//p" .env | tail -1); fi
  printf '%s' "${value:-$2}"
}

watching() { docker compose --file docker-compose.monitoring.yml "$@"; }

# Our verbs, where the platform's database is reached.
in_platform() { docker compose --file docker-compose.yml exec --no-TTY api python -m "$@" </dev/null; }

start_compose() {
  # Inside, ports are the default ones and all parts are there, whatever the settings of this machine say.
  AUTOTRADER_MONITORING__PROFILES=postgres,redis,distributed \
    verb autotrader.monitoring.rules --folder "$folder" --hosts compose --secrets "$secrets_inside"
  make_token in_platform
  mkdir -p "$folder"/data/{prometheus,alertmanager,grafana}
  watching up --detach --wait
  watching kill --signal SIGHUP prometheus alertmanager # they read their files again
  info "look at   http://127.0.0.1:$(of_compose GRAFANA_PORT 3000) (admin, the password is GRAFANA_PASSWORD)"
}

status_compose() {
  local running name ill=0
  running=$(watching ps --services --status running)
  while IFS= read -r name; do
    if grep -qx "$name" <<<"$running"; then
      printf 'up      %s\n' "$name"
    else
      printf 'down    %s\n' "$name"
      ill=1
    fi
  done < <(watching config --services | sort)
  if grep -qx prometheus <<<"$running"; then tell; fi
  return "$ill"
}

# Not `down`: the network is the platform's, too.
stop_compose() { watching rm --stop --force; }
