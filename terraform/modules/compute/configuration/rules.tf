# Which rules judge it: all but those of which nothing here measures what they ask for, and which would look as if
# something were watched. tests/terraform/test_configuration.py knows what is measured, and compares.

locals {
  groups_without_source = ["machine", "postgres", "redis", "distributed"]
  alerts_without_source = concat(
    var.airflow ? [] : ["DataPipelineFailure"],
    var.api_metrics ? [] : ["HighAPILatency", "HighAPIRequestRate"],
  )
  levels_without_source = var.airflow ? [] : ["pipeline_success"]

  rule_groups = { for path, content in var.files : trimsuffix(basename(path), ".yml") => yamldecode(content).groups
  if startswith(path, "prometheus/rules/") && !contains(local.groups_without_source, trimsuffix(basename(path), ".yml")) }

  rules = { for name, groups in local.rule_groups : name => yamlencode({
    groups = [for group in groups : merge(group, {
      rules = [for rule in group.rules : merge(rule, {
        for field, notes in { annotations = try(rule.annotations, null) } : field => merge(notes, {
          runbook_url = "${var.runbook_url}/${trimprefix(notes.runbook_url, "runbooks/")}"
        }) if notes != null
      }) if !contains(local.alerts_without_source, try(rule.alert, "")) && !contains(local.levels_without_source, try(rule.labels.slo, ""))]
    })]
  }) }
}

output "rules" {
  description = "Files of rules, by name."
  value       = local.rules
}
