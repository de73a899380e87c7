#!/usr/bin/env bash
# Start, look at or stop what watches the platform: Prometheus, Alertmanager, exporters, and Grafana in containers.
#
# usage: scripts/monitoring.sh start|status|stop [--native] [--help]
#   --native  Prometheus, Alertmanager and the node exporter from installed binaries, for a platform of this machine's
#             processes; else all of docker-compose.monitoring.yml, for the platform of docker-compose.yml
#
# They listen on loopback and keep their state below <home>/monitoring, or monitoring-compose. `start` makes the
# configuration anew and lets what runs already read it. `status` says what is up, which pages can be read and which
# alerts fire. In containers the platform has to run: the API makes the token with which it is asked.
# Exit codes: 0 done, 1 failed or not all is up, 2 usage or something is missing.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/steps.sh"
. "$root/scripts/lib/monitoring.sh"
. "$root/scripts/lib/monitoring_compose.sh"
read_command_line "--native" "" "$@"
require_words 1 "start, status or stop"
cd "$root"

names=(prometheus alertmanager node-exporter)

start() {
  "$root/scripts/setup-monitoring.sh"
  mkdir -p "$folder/data"
  begin alertmanager "$alertmanager_port" /-/ready "$(alertmanager_program)" \
    --config.file="$folder/alertmanager/alertmanager.yml" --storage.path="$folder/data/alertmanager" \
    --web.listen-address="127.0.0.1:$alertmanager_port" --cluster.listen-address=
  begin prometheus "$prometheus_port" /-/ready prometheus \
    --config.file="$folder/prometheus/prometheus.yml" --storage.tsdb.path="$folder/data/prometheus" \
    --storage.tsdb.retention.time=35d --web.listen-address="127.0.0.1:$prometheus_port"
  begin_node
}

status() {
  local name ill=0
  for name in "${names[@]}"; do
    if pid_of "$name" >/dev/null; then
      printf 'up      %s\n' "$name"
    else
      printf 'down    %s\n' "$name"
      [ "$name" = node-exporter ] || ill=1
    fi
  done
  if pid_of prometheus >/dev/null; then
    tell
  fi
  return "$ill"
}

# tell: which pages can be read, and which alerts fire.
tell() {
  ask "api/v1/targets?state=active" '
for target in sorted(answer["data"]["activeTargets"], key=lambda t: (t["labels"]["job"], t["scrapeUrl"])):
    labels = target["labels"]
    print("page    %-5s %-18s %s" % (target["health"], labels.get("service", labels["job"]), target["scrapeUrl"]))'
  ask "api/v1/alerts" '
for alert in answer["data"]["alerts"]:
    told = alert["annotations"]
    print("%-7s %s: %s (%s)" % (alert["state"], alert["labels"]["alertname"], told["summary"], told["runbook_url"]))
if not answer["data"]["alerts"]:
    print("no alert fires")'
}

# ask PATH PROGRAM: what Prometheus answers, shown by a few lines of Python.
ask() {
  curl --silent --fail --noproxy '*' --max-time 10 "http://127.0.0.1:$prometheus_port/$1" |
    "$python" -c "import json, sys; answer = json.load(sys.stdin)$2"
}

stop() {
  local name
  for name in "${names[@]}"; do end "$name"; done
}

case ${words[0]} in
  start | status | stop) ;;
  *) usage "expected start, status or stop, was '${words[0]}'" ;;
esac
know_monitoring
if [ -n "${given[--native]-}" ]; then
  "${words[0]}"
else
  know_compose
  "${words[0]}_compose"
fi
