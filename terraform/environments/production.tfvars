# Three zones, everything protected, and copied to the DR region within the hour.

environment = "production"
prefix      = "autotrader"
domain      = "autotrader.example" # replace before you apply

availability_zone_count = 3
protect                 = true
replicate               = true
backup_days             = 30
log_retention_days      = 365

database = {
  instance_class        = "db.m7g.large"
  allocated_storage     = 100
  max_allocated_storage = 1000
  multi_az              = true
  backup_days           = 30
  max_connections       = 800
}

cache = {
  node_type = "cache.m7g.large"
  nodes     = 2
}

image_tags = {
  serving  = "v0.1.0"
  platform = "v0.1.0"
}

scaling = {
  least_tasks = 2
  most_tasks  = 8
}

airflow = {
  enabled           = true
  environment_class = "mw1.medium"
}
