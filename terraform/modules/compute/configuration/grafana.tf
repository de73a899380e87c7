# What Grafana shows: the generated dashboards, and from where.

locals {
  grafana = { for part, path in {
    source   = "grafana/provisioning/datasources/prometheus.yml"
    provider = "grafana/provisioning/dashboards/autotrader.yml"
  } : part => yamldecode(var.files[path]) }
}

output "grafana_source" {
  description = "Provisioning of the data source; its uid is what every panel names."
  value = yamlencode(merge(local.grafana.source, {
    datasources = [for source in local.grafana.source.datasources : merge(source, { url = "http://${local.places["prometheus"]}" })]
  }))
}

output "grafana_provider" {
  description = "Provisioning of the folder of dashboards."
  value = yamlencode(merge(local.grafana.provider, {
    providers = [for provider in local.grafana.provider.providers : merge(provider, {
      options = merge(provider.options, { path = var.folders.dashboards })
    })]
  }))
}

output "dashboards" {
  description = "Dashboards (JSON), by file name."
  value = { for path, content in var.files : basename(path) => jsonencode(jsondecode(
    replace(content, "\"runbooks/", "\"${var.runbook_url}/")
  )) if startswith(path, "dashboards/") }
}
