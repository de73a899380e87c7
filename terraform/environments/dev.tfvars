# Two zones, the smallest sizes, nothing protected: to be destroyed and made again.

environment = "dev"
prefix      = "autotrader-dev"

availability_zone_count = 2
protect                 = false
replicate               = false
backup_days             = 3
log_retention_days      = 365

database = {
  instance_class        = "db.t4g.small"
  allocated_storage     = 20
  max_allocated_storage = 100
  multi_az              = false
  backup_days           = 3
  max_connections       = 150
}

cache = {
  node_type = "cache.t4g.micro"
  nodes     = 1
}

image_tags = {
  serving  = "v0.1.0"
  platform = "v0.1.0"
}

airflow = {
  enabled = true
}
