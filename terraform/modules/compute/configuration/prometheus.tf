# What Prometheus reads: the generated file, with the names that processes have in DNS here. Jobs and labels stay, since
# rules and dashboards name them.

locals {
  prometheus = yamldecode(var.files["prometheus/prometheus.yml"])

  # By label `service` of the generated file, else by job.
  places = merge(
    {
      for name, process in {
        prediction-blue = ["serving-blue", "serving"], prediction-green = ["serving-green", "serving"]
        trader          = ["trader", "trader"], exporter = ["exporter", "exporter"]
        prometheus      = ["prometheus", "prometheus"], alertmanager = ["alertmanager", "alertmanager"]
      } : name => "${process[0]}.${var.namespace}:${var.ports[process[1]]}"
    },
    var.api_metrics ? { api = "api.${var.namespace}:${var.ports["api"]}" } : {},
  )
  # No machine is ours here, and no exporter asks PostgreSQL or Redis: CloudWatch does (module monitoring).
  jobs_without_source = concat(["node", "postgres", "redis"], var.api_metrics ? [] : ["api"])

  # A colour has several tasks, and each counts for itself. The colour's one name is read, too, and nothing kept of
  # it but `up`: where no task is left, DNS lists none, and Prometheus would forget that there should be one.
  each_task = {
    dns_sd_configs = [{
      names            = [for color in ["blue", "green"] : "serving-${color}.${var.namespace}"]
      type             = "A"
      port             = var.ports["serving"]
      refresh_interval = "15s"
    }]
    relabel_configs = [for label, value in { color = "$1", service = "prediction-$1" } : {
      source_labels = ["__meta_dns_name"]
      regex         = "serving-(blue|green)[.].*"
      target_label  = label
      replacement   = value
    }]
    metric_relabel_configs = [{ source_labels = ["instance"], regex = "serving-(blue|green)[.].*", action = "drop" }]
  }

  token_of_api = {
    authorization = { credentials_file = "${var.folders.prometheus}/metrics_token" }
    scheme        = "http" # inside the VPC, between two security groups
  }

  jobs = [for job in local.prometheus.scrape_configs : merge(
    job,
    { static_configs = [for given in job.static_configs : merge(given, {
      targets = [local.places[try(given.labels.service, job.job_name)]]
    })] },
    { for name, value in local.each_task : name => value if job.job_name == "prediction" },
    { for name, value in local.token_of_api : name => value if job.job_name == "api" },
  ) if !contains(local.jobs_without_source, job.job_name)]
}

output "prometheus" {
  description = "prometheus.yml."
  value = yamlencode(merge(local.prometheus, {
    global         = merge(local.prometheus.global, { external_labels = { environment = var.environment } })
    alerting       = { alertmanagers = [{ static_configs = [{ targets = [local.places["alertmanager"]] }] }] }
    rule_files     = [for name in sort(keys(local.rules)) : "rules/${name}.yml"]
    scrape_configs = local.jobs
  }))
}
