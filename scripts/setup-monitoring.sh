#!/usr/bin/env bash
# Make the configuration of Prometheus and Alertmanager for this environment, with its secrets in files.
#
# It is for Prometheus and Alertmanager that are installed here; that of containers makes scripts/monitoring.sh start.
#
# usage: scripts/setup-monitoring.sh [--check] [--help]
#   --check  say what is missing, change nothing
#
# Below <home>/monitoring it writes prometheus/, alertmanager/ and secrets/ (readable by you alone). Secrets come
# from the settings (AUTOTRADER_ALERTS__PAGERDUTY_KEY, AUTOTRADER_ALERTS__SLACK_URL, AUTOTRADER_MAIL__PASSWORD), or
# put them into secrets/pagerduty-routing-key, slack-webhook-url, smtp-password yourself. A severity whose way is not
# set up reaches the platform alone. secrets/platform-token, with which Alertmanager and Prometheus ask the API, is
# made for 90 days, and made anew by a run of this that finds fewer than 60 left: by nothing else, so run it each
# month (prod-check warns when 30 are left). Both read it with each request: nothing needs a restart. No password
# has a default. Run it as often as you like.
# Exit codes: 0 done, 1 failed, 2 usage or something is missing.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/steps.sh"
. "$root/scripts/lib/monitoring.sh"
read_command_line "--check" "" "$@"
require_words 0 "no words"
cd "$root"

know_monitoring
absent=$(missing_programs)
[ -z "$absent" ] || die "expected $absent, not found: apt-get install prometheus prometheus-alertmanager; \
or let containers watch, whose configuration \`make monitoring-start\` makes by itself" 2
command -v prometheus-node-exporter node_exporter >/dev/null ||
  info "advice    without a node exporter nothing is known of processor, memory and disk: apt-get install prometheus-node-exporter"

if [ -n "${given[--check]-}" ]; then
  verb autotrader.monitoring.rules --folder "$folder" --check
  exit
fi
verb autotrader.monitoring.rules --folder "$folder"
make_token verb
promtool check config "$folder/prometheus/prometheus.yml" >/dev/null
amtool check-config "$folder/alertmanager/alertmanager.yml" >/dev/null
info "checked   with promtool and amtool"
