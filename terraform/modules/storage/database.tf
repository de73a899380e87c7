# PostgreSQL: routes, rollouts, trading records, events, the trial ledger, and MLflow's runs.

resource "aws_db_subnet_group" "this" {
  name        = local.name
  description = "Subnets without a way out"
  subnet_ids  = var.database_subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name        = "${local.name}-postgres15"
  family      = "postgres15"
  description = "TLS only; slow statements and schema changes are logged"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # Given, so that alarms on connections know what they are a share of. RDS wants a restart for another one.
  parameter {
    name         = "max_connections"
    value        = tostring(var.database.max_connections)
    apply_method = "pending-reboot"
  }

  # SPEC 13, SlowQueries.
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_lock_waits"
    value = "1"
  }
}

resource "aws_iam_role" "database_monitoring" {
  name = "${local.name}-${local.region}-database-monitoring"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "database_monitoring" {
  role       = aws_iam_role.database_monitoring.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_cloudwatch_log_group" "database" {
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${local.name}/${each.key}"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_157:two zones in production alone: dev and staging may wait for a restore
  #checkov:skip=CKV_AWS_293:on in production alone: dev and staging are to be destroyed and made again
  #checkov:skip=CKV_AWS_161:the processes name a role and a password from Secrets Manager, as they do outside AWS
  identifier     = local.name
  engine         = "postgres"
  engine_version = var.database.engine_version
  instance_class = var.database.instance_class
  db_name        = var.database.snapshot == null ? "autotrader" : null

  # RDS makes, keeps and rotates it; the platform's own roles have their passwords in database-url and mlflow-database-url.
  username                      = "autotrader_admin"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  allocated_storage     = var.database.allocated_storage
  max_allocated_storage = var.database.max_allocated_storage
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn
  snapshot_identifier   = var.database.snapshot

  multi_az               = var.database.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [var.security_group_ids["database"]]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  backup_retention_period   = var.database.backup_days
  backup_window             = "00:15-00:45"
  maintenance_window        = "sat:05:00-sat:06:00"
  copy_tags_to_snapshot     = true
  delete_automated_backups  = !var.protect
  deletion_protection       = var.protect
  skip_final_snapshot       = !var.protect
  final_snapshot_identifier = "${local.name}-final"

  auto_minor_version_upgrade = true
  apply_immediately          = !var.protect

  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = 7
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.database_monitoring.arn
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  lifecycle {
    # A snapshot counts when the instance is made; another one later would replace the instance, and what it holds.
    # Minor versions and storage grow by themselves.
    ignore_changes = [snapshot_identifier, db_name, engine_version, allocated_storage]
  }

  depends_on = [aws_cloudwatch_log_group.database, aws_iam_role_policy_attachment.database_monitoring]
}
