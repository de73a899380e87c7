# Prometheus, Alertmanager and Grafana. Their images are not ours: what they are configured with comes as variables of
# the container, gzipped, and is written into a volume before they start. What they keep:
# - Prometheus: nothing beyond the task. Its store must not lie on a network file system such as EFS
#   (https://prometheus.io/docs/prometheus/latest/storage/), and Fargate has no other volume that outlives a task.
# - Alertmanager (silences, what was sent) and Grafana (users, what was edited): on the file system.

module "configuration" {
  source = "./configuration"

  files       = var.monitoring_files
  environment = var.environment
  namespace   = local.namespace
  ports       = local.ports
  api_metrics = var.api_metrics
  airflow     = var.mwaa_environment != null
  alerts      = var.alerts
  mail        = var.mail
  runbook_url = lookup(var.settings, "AUTOTRADER_MONITORING__RUNBOOK_URL", "runbooks")
  folders = {
    prometheus   = "/prometheus"
    alertmanager = "/alertmanager"
    dashboards   = "/var/lib/grafana/dashboards"
  }
}

locals {
  observers = {
    prometheus = {
      image  = var.monitoring_images.prometheus
      user   = "65534:65534"
      folder = "/prometheus"
      mounts = { scratch = "/prometheus" }
      health = "http://127.0.0.1:${local.ports["prometheus"]}/-/healthy"
      files = merge(
        { "/prometheus/prometheus.yml" = module.configuration.prometheus },
        { for name, content in module.configuration.rules : "/prometheus/rules/${name}.yml" => content },
      )
      secrets = { METRICS_TOKEN = "/prometheus/metrics_token" }
      start = join(" ", [
        "/bin/prometheus --config.file=/prometheus/prometheus.yml --storage.tsdb.path=/prometheus/data",
        "--storage.tsdb.retention.time=15d --web.listen-address=:${local.ports["prometheus"]}",
      ])
    }

    alertmanager = {
      image  = var.monitoring_images.alertmanager
      user   = "65534:65534"
      folder = "/alertmanager"
      mounts = { scratch = "/alertmanager", kept = "/data" }
      health = "http://127.0.0.1:${local.ports["alertmanager"]}/-/healthy"
      files  = { "/alertmanager/alertmanager.yml" = module.configuration.alertmanager }
      # It reads secrets from files alone; the volume is the task's and ends with it.
      secrets = {
        PLATFORM_TOKEN = "/alertmanager/platform_token"
        PAGERDUTY_KEY  = "/alertmanager/pagerduty_key"
        SLACK_URL      = "/alertmanager/slack_url"
        MAIL_PASSWORD  = "/alertmanager/mail_password"
      }
      start = join(" ", [
        "/bin/alertmanager --config.file=/alertmanager/alertmanager.yml --storage.path=/data",
        "--web.listen-address=:${local.ports["alertmanager"]} --cluster.listen-address=",
      ])
    }

    grafana = {
      image  = var.monitoring_images.grafana
      user   = "472:472"
      folder = "/var/lib/grafana"
      mounts = { kept = "/var/lib/grafana" }
      health = "http://127.0.0.1:${local.ports["grafana"]}/api/health"
      files = merge(
        {
          "/var/lib/grafana/provisioning/datasources/prometheus.yml" = module.configuration.grafana_source
          "/var/lib/grafana/provisioning/dashboards/autotrader.yml"  = module.configuration.grafana_provider
        },
        { for name, content in module.configuration.dashboards : "/var/lib/grafana/dashboards/${name}" => content },
      )
      # On the file system: a dashboard that is no more would stay.
      emptied = ["/var/lib/grafana/provisioning", "/var/lib/grafana/dashboards"]
      secrets = {}
      start   = "/run.sh"
    }
  }

  grafana_settings = {
    GF_SERVER_HTTP_PORT              = tostring(local.ports["grafana"])
    GF_PATHS_PROVISIONING            = "/var/lib/grafana/provisioning"
    GF_LOG_MODE                      = "console"
    GF_USERS_ALLOW_SIGN_UP           = "false"
    GF_AUTH_ANONYMOUS_ENABLED        = "false"
    GF_ANALYTICS_REPORTING_ENABLED   = "false"
    GF_ANALYTICS_CHECK_FOR_UPDATES   = "false"
    GF_PLUGINS_PREINSTALL_DISABLED   = "true"
    TMPDIR                           = "/var/lib/grafana"
    GF_SECURITY_DISABLE_GRAVATAR     = "true"
    GF_SECURITY_COOKIE_SAMESITE      = "strict"
    GF_SNAPSHOTS_EXTERNAL_ENABLED    = "false"
    GF_PUBLIC_DASHBOARDS_ENABLED     = "false"
    GF_DATE_FORMATS_DEFAULT_TIMEZONE = "UTC"
  }

  observer_environments = { for name, observer in local.observers : name => merge(
    { for index, path in sort(keys(observer.files)) : "FILE_${index}" => base64gzip(observer.files[path]) },
    name == "grafana" ? local.grafana_settings : {},
  ) }

  observer_scripts = { for name, observer in local.observers : name => join("\n", concat(
    ["set -eu", "umask 077"],
    [for folder in try(observer.emptied, []) : "rm -rf ${folder}"],
    [for folder in distinct([for path in keys(observer.files) : dirname(path)]) : "mkdir -p ${folder}"],
    [for index, path in sort(keys(observer.files)) :
    "printf %s \"$FILE_${index}\" | base64 -d | gunzip > ${path}"],
    [for variable, path in observer.secrets : format("printf %%s \"$%s\" > %s", variable, path)
    if contains(keys(local.secrets[name]), variable)],
    length(observer.secrets) == 0 ? [] : ["unset ${join(" ", keys(observer.secrets))}"],
    ["exec ${observer.start}"],
  )) }

  observer_containers = { for name, observer in local.observers : name => [{
    name                   = name
    image                  = observer.image
    essential              = true
    entryPoint             = ["/bin/sh", "-c"]
    command                = [local.observer_scripts[name]]
    user                   = observer.user
    readonlyRootFilesystem = true
    stopTimeout            = 30
    environment            = local.environment_lists[name]
    secrets                = local.secret_lists[name]
    linuxParameters        = local.linux_parameters
    logConfiguration       = local.log_configurations[name]
    portMappings           = local.port_mappings[name]
    mountPoints = [for volume, path in observer.mounts :
    { sourceVolume = volume, containerPath = path, readOnly = false }]
    healthCheck = {
      command     = ["CMD-SHELL", "wget -q -O /dev/null ${observer.health} || exit 1"]
      interval    = 30
      timeout     = 5
      retries     = 5
      startPeriod = 120
    }
  }] }

  # Licensed software in an image of the operator's choice, whose root it writes to.
  gateway_containers = [{
    name                   = "ib-gateway"
    image                  = var.ib_gateway.image
    essential              = true
    readonlyRootFilesystem = false
    stopTimeout            = 30
    environment            = local.environment_lists["ib-gateway"]
    secrets                = local.secret_lists["ib-gateway"]
    logConfiguration       = local.log_configurations["ib-gateway"]
    portMappings           = local.port_mappings["ib-gateway"]
  }]
}
