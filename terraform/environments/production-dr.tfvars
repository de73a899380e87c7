# What waits in the DR region: production over the copies, with every service at no task. Its state is in the DR region too.
# Applied after production, and again whenever production changes.

environment = "production"
standby     = true
region      = "eu-central-1"
dr_region   = "eu-west-1"
prefix      = "autotrader-dr"      # production's and -dr: modules/storage/copies
domain      = "autotrader.example" # replace before you apply

availability_zone_count = 3
protect                 = true
replicate               = false
backup_days             = 30
log_retention_days      = 365

# Of the database and the cache that a failover makes there.
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

# MWAA costs by the hour whether it works or not; set enabled to true after a failover.
airflow = {
  enabled           = false
  environment_class = "mw1.medium"
}
