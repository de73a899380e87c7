# Production's rules at dev's sizes: what a release has to survive before production sees it.

environment = "staging"
prefix      = "autotrader-staging"
domain      = "staging.autotrader.example" # replace before you apply

availability_zone_count = 2
protect                 = false
replicate               = false
backup_days             = 7
log_retention_days      = 365

database = {
  instance_class        = "db.t4g.medium"
  allocated_storage     = 50
  max_allocated_storage = 200
  multi_az              = false
  backup_days           = 7
  max_connections       = 300
}

cache = {
  node_type = "cache.t4g.small"
  nodes     = 1
}

image_tags = {
  serving  = "v0.1.0"
  platform = "v0.1.0"
}

airflow = {
  enabled = true
}
