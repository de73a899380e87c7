#!/bin/sh
# Runs in every container of the MWAA environment before Airflow does. It changes nothing: everything is
# set by configuration options of the environment, and no secret is. It says in the start-up log what is missing, so
# that nobody has to find out by a failed task.

if [ "${AIRFLOW__AUTOTRADER__STEPS:-here}" != ecs ]; then
  echo "autotrader: option autotrader.steps is '${AIRFLOW__AUTOTRADER__STEPS:-}', expected ecs:" \
    "the packages that steps need are not in this environment"
fi
for name in ENVIRONMENT PREFIX SUBNETS SECURITY_GROUPS; do
  eval "value=\${AIRFLOW__AUTOTRADER__$name:-}"
  # shellcheck disable=SC2154 # set by eval
  [ -n "$value" ] || echo "autotrader: expected a value of option autotrader.$(echo "$name" | tr '[:upper:]' '[:lower:]'), was empty"
done
