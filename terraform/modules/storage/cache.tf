# Redis: the cache's middle tier (SPEC 17). Nothing is kept here that cannot be computed again.

resource "aws_elasticache_subnet_group" "this" {
  name        = local.name
  description = "Subnets without a way out"
  subnet_ids  = var.database_subnet_ids
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${local.name}-redis7"
  family      = "redis7"
  description = "A cache: what was used least recently makes room"

  parameter {
    name  = "maxmemory-policy"
    value = "allkeys-lru"
  }
}

resource "aws_cloudwatch_log_group" "cache" {
  name              = "/aws/elasticache/${local.name}/slow-log"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_elasticache_replication_group" "this" {
  #checkov:skip=CKV2_AWS_50:two nodes and fail-over in production alone: SPEC 17, a tier that is down is skipped
  replication_group_id = local.name
  description          = "Cache of ${local.name}"
  engine               = "redis"
  engine_version       = "7.1"
  node_type            = var.cache.node_type
  num_cache_clusters   = var.cache.nodes
  port                 = 6379

  automatic_failover_enabled = var.cache.nodes > 1
  multi_az_enabled           = var.cache.nodes > 1

  subnet_group_name    = aws_elasticache_subnet_group.this.name
  parameter_group_name = aws_elasticache_parameter_group.this.name
  security_group_ids   = [var.security_group_ids["cache"]]

  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  auth_token                 = var.redis_auth_token
  auth_token_update_strategy = "ROTATE"

  maintenance_window         = "sat:06:00-sat:07:00"
  snapshot_retention_limit   = 0
  auto_minor_version_upgrade = true
  apply_immediately          = true

  log_delivery_configuration {
    destination      = aws_cloudwatch_log_group.cache.name
    destination_type = "cloudwatch-logs"
    log_format       = "json"
    log_type         = "slow-log"
  }
}

resource "aws_secretsmanager_secret_version" "redis_url" {
  secret_id                = var.redis_url_secret_id
  secret_string_wo         = "rediss://:${var.redis_auth_token}@${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0" # pragma: allowlist secret
  secret_string_wo_version = 1
}
