mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:autotrader-dev-alerts" }
  }
}

variables {
  environment               = "dev"
  kms_key_arn               = "arn:aws:kms:eu-west-1:123456789012:key/1"
  emails                    = ["oncall@example.com"]
  alb_arn_suffix            = "app/autotrader-dev/1"
  target_group_arn_suffixes = { blue = "targetgroup/autotrader-dev-blue/1", green = "targetgroup/autotrader-dev-green/2" }
  cluster_name              = "autotrader-dev"
  service_names             = { trader = "autotrader-dev-trader", serving-blue = "trading-blue" }
  database                  = { id = "autotrader-dev", storage_gib = 100, max_connections = 200 }
  redis                     = { id = "autotrader-dev", nodes = 2 }
  airflow_name              = "autotrader-dev"
}

run "alarms_go_off_where_the_platform_says" {
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => [alarm.threshold, alarm.evaluation_periods] } == {
      HighErrorRate                = [1, 5]
      HighLatency-blue             = [0.2, 10]
      HighLatency-green            = [0.2, 10]
      ComponentUnhealthy-blue      = [0, 2]
      ComponentUnhealthy-green     = [0, 2]
      ServiceDown-trader           = [0, 2]
      ServiceDown-serving-blue     = [0, 2]
      HighMemoryUsage-trader       = [85, 10]
      HighMemoryUsage-serving-blue = [85, 10]
      PostgresDown                 = [0, 5]
      HighCPUUsage-database        = [80, 10]
      DiskSpaceLow-database        = [16106127360, 5]
      HighDatabaseConnections      = [160, 5]
      DatabaseConnectionsExhausted = [190, 1]
      RedisMemoryHigh-001          = [90, 5]
      RedisMemoryHigh-002          = [90, 5]
      RedisDown-001                = [0, 5]
      RedisDown-002                = [0, 5]
      NoWorkersAvailable-airflow   = [1, 5]
    }
    error_message = "thresholds and patience are the platform's"
  }
  assert {
    condition = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.this) :
    alarm.alarm_actions == toset([aws_sns_topic.alerts.arn]) && alarm.ok_actions == toset([aws_sns_topic.alerts.arn])])
    error_message = "every alarm is told, and so is its end"
  }
  assert {
    condition = alltrue([for name in ["PostgresDown", "RedisDown-001", "NoWorkersAvailable-airflow"] :
    aws_cloudwatch_metric_alarm.this[name].treat_missing_data == "breaching"])
    error_message = "what is silent is down"
  }
  assert {
    condition = anytrue([for query in aws_cloudwatch_metric_alarm.this["ServiceDown-trader"].metric_query :
    query.expression == "IF(desired > FILL(running, 0), 1, 0)"])
    error_message = "a service that is asked for and has no task at all is missed"
  }
  assert {
    condition = alltrue(flatten([for query in aws_cloudwatch_metric_alarm.this["RedisDown-002"].metric_query : [
    for metric in query.metric : metric.dimensions == tomap({ CacheClusterId = "autotrader-dev-002" })]]))
    error_message = "each node by the name that ElastiCache gives it"
  }
  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_name) <= 255 && strcontains(alarm.alarm_description, "runbooks/alerts/${split("-", name)[0]}.md")])
    error_message = "an alarm says where to read on"
  }
}

run "the_topic_is_encrypted_and_the_alarms_alone_speak" {
  assert {
    condition     = aws_sns_topic.alerts.name == "autotrader-dev-alerts" && aws_sns_topic.alerts.kms_master_key_id == var.kms_key_arn
    error_message = "autotrader-<environment>-alerts, encrypted with our key"
  }
  assert {
    condition = [for statement in jsondecode(aws_sns_topic_policy.alerts.policy).Statement : statement.Principal if statement.Effect == "Allow"] == [
      { Service = "cloudwatch.amazonaws.com" }
    ]
    error_message = "only CloudWatch publishes"
  }
  assert {
    condition     = [for subscription in values(aws_sns_topic_subscription.email) : subscription.endpoint] == ["oncall@example.com"]
    error_message = "whoever is on call gets it"
  }
}

run "the_dashboard_shows_each_part" {
  assert {
    condition = aws_cloudwatch_dashboard.this.dashboard_name == "autotrader-dev" && alltrue([
      for title in ["Requests and errors", "p99 of each colour, s", "Tasks that run", "Database: CPUUtilization", "Redis: memory, %"] :
      contains([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.title], title)
    ])
    error_message = "traffic, services, database, cache"
  }
}

run "what_is_not_there_has_no_alarm" {
  command = plan
  variables {
    database     = null
    redis        = null
    airflow_name = null
  }
  assert {
    condition     = alltrue([for name in keys(aws_cloudwatch_metric_alarm.this) : !can(regex("^(Postgres|Redis|NoWorkers|.*database|Database)", name))])
    error_message = "no alarm for what does not exist"
  }
}
