# The parts of a container definition that all have in common, by process.

locals {
  names = concat(keys(local.processes), ["serving", "prometheus", "alertmanager", "grafana", "ib-gateway"])

  environment_lists = { for name, values in local.environment : name => [
    for variable in sort(keys(values)) : { name = variable, value = values[variable] }
  ] }

  secret_lists = { for name, wanted in local.secrets : name => [
    for variable in sort(keys(wanted)) : {
      name = variable
      valueFrom = join("", compact([
        var.secret_arns[wanted[variable].secret],
        wanted[variable].key == null ? "" : ":${coalesce(wanted[variable].key, "-")}::",
      ]))
    }
  ] }

  linux_parameters = { capabilities = { drop = ["ALL"] } }

  # A log service that hangs must not stop a trader: what does not fit into the buffer is lost.
  log_configurations = { for name in concat(local.names, [for color in local.colors : "serving-${color}"]) : name => {
    logDriver = "awslogs"
    options = {
      awslogs-group         = "/autotrader/${var.environment}/${name}"
      awslogs-region        = var.region
      awslogs-stream-prefix = name
      mode                  = "non-blocking"
      max-buffer-size       = "25m"
    }
  } }

  port_mappings = { for name in local.names : name => [
    for port in compact([try(tostring(local.ports[name]), "")]) :
    { containerPort = tonumber(port), hostPort = tonumber(port), protocol = "tcp" }
  ] }
}
