# Who is told, how often, and what keeps quiet meanwhile: the generated file, with the ways to people that are set up
# here. Routes and inhibitions stay as they are.

locals {
  alertmanager = yamldecode(var.files["alertmanager/alertmanager.yml"])

  # A way that is not set up keeps its name, since routes lead to it, and tells nobody.
  channels = {
    platform = {
      is_set_up = var.api_metrics
      kind      = "webhook_configs"
      own = {
        url         = "http://api.${var.namespace}:${var.ports["api"]}/alerts/webhook"
        http_config = { authorization = { credentials_file = "${var.folders.alertmanager}/platform_token" } }
      }
    }
    pagerduty = {
      is_set_up = var.alerts.pagerduty
      kind      = "pagerduty_configs"
      own       = { routing_key_file = "${var.folders.alertmanager}/pagerduty_key" }
    }
    slack = {
      is_set_up = var.alerts.slack
      kind      = "slack_configs"
      own       = { api_url_file = "${var.folders.alertmanager}/slack_url", channel = var.alerts.slack_channel }
    }
    email = {
      is_set_up = var.mail.host != null
      kind      = "email_configs"
      own = {
        to                 = join(", ", var.mail.recipients)
        from               = var.mail.sender
        smarthost          = try("${var.mail.host}:${var.mail.port}", null)
        auth_username      = var.mail.user
        auth_password_file = "${var.folders.alertmanager}/mail_password"
      }
    }
  }
}

output "alertmanager" {
  description = "alertmanager.yml."
  value = yamlencode(merge(local.alertmanager, {
    receivers = [for receiver in local.alertmanager.receivers : merge(
      { name = receiver.name },
      { for channel in [local.channels[receiver.name]] :
      channel.kind => [for given in receiver[channel.kind] : merge(given, channel.own)] if channel.is_set_up },
    )]
  }))
}
