variable "files" {
  description = "What `python -m autotrader.monitoring.rules` writes, by path below monitoring/: those below prometheus, alertmanager, grafana and dashboards."
  type        = map(string)

  validation {
    condition = length(setsubtract([
      "prometheus/prometheus.yml", "alertmanager/alertmanager.yml", "grafana/provisioning/datasources/prometheus.yml",
      "grafana/provisioning/dashboards/autotrader.yml",
    ], keys(var.files))) == 0
    error_message = "Expected the files of Prometheus, Alertmanager and Grafana: run python -m autotrader.monitoring.rules."
  }
}

variable "environment" {
  description = "Label of all that Prometheus tells others."
  type        = string
}

variable "namespace" {
  description = "What the processes' names in DNS end with."
  type        = string
}

variable "ports" {
  description = "By process: serving, trader, api, exporter, prometheus, alertmanager."
  type        = map(number)
}

variable "api_metrics" {
  description = "Whether there is a token for the API: Prometheus reads its page with it, Alertmanager tells it of alerts."
  type        = bool
}

variable "airflow" {
  description = "Whether there is an Airflow, which the exporter asks what became of runs."
  type        = bool
}

variable "alerts" {
  description = "Ways to people that are set up, and the channel in Slack."
  type = object({
    pagerduty     = bool
    slack         = bool
    slack_channel = string
  })
}

variable "mail" {
  description = "Mail server, sender and recipients; without a host there are no mails."
  type = object({
    host       = optional(string)
    port       = number
    user       = optional(string)
    sender     = optional(string)
    recipients = list(string)
  })
}

variable "runbook_url" {
  description = "Base URL of the runbooks (AUTOTRADER_MONITORING__RUNBOOK_URL), in place of their folder in the checkout."
  type        = string
}

variable "folders" {
  description = "Where the three see their files: prometheus, alertmanager, dashboards."
  type = object({
    prometheus   = string
    alertmanager = string
    dashboards   = string
  })
}
