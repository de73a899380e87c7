# What stands where: networking, key -> secrets -> values -> storage -> certificate -> compute -> airflow, monitoring, dns. No arrow back.
#
# One root for two roles. The primary stack keeps (modules/storage) and copies (modules/storage/copies); the standby, in the
# DR region, finds the copies (modules/standby) and has every service without tasks.

locals {
  name = "autotrader-${var.environment}"

  # What one of the two has, which is there once. Named output by output, so that nothing waits for the whole of storage.
  kms_key_arn        = var.standby ? module.standby[0].kms_key_arn : module.key[0].arn
  bucket_names       = var.standby ? tomap(module.standby[0].bucket_names) : tomap(module.storage[0].bucket_names)
  bucket_arns        = var.standby ? tomap(module.standby[0].bucket_arns) : tomap(module.storage[0].bucket_arns)
  secret_arns        = var.standby ? tomap(module.standby[0].secret_arns) : tomap(module.secrets[0].arns)
  ecr_repository_url = var.standby ? module.standby[0].ecr_repository_url : module.storage[0].ecr_repository_url

  # Processes reach the database by a name that moves with it, so that their secret need not.
  database_name = "database.aws.${local.name}.internal"

  # What Prometheus, Alertmanager and Grafana are told anywhere: generated from the catalogues of rules and metrics.
  monitoring_folder = "${path.root}/../monitoring"
  monitoring_files = {
    for name in fileset(local.monitoring_folder, "{prometheus,alertmanager,grafana,dashboards}/**") :
    name => file("${local.monitoring_folder}/${name}")
  }
}

# The state remembers which environment it is of: a plan for production over the state of dev stops here, before it
# proposes to replace everything.
resource "terraform_data" "state_of" {
  input = "${var.environment}${var.standby ? "-dr" : ""}"

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output == "${var.environment}${var.standby ? "-dr" : ""}"
      error_message = "Expected the state of ${var.environment}${var.standby ? "-dr" : ""}, was that of ${self.output}: run terraform init -reconfigure -backend-config=environments/<environment>.s3.tfbackend."
    }
  }
}

module "networking" {
  source = "./modules/networking"

  environment             = var.environment
  availability_zone_count = var.availability_zone_count
  flow_log_retention_days = var.log_retention_days
}

module "copies" {
  source    = "./modules/storage/copies"
  count     = var.replicate ? 1 : 0
  providers = { aws = aws.dr }

  environment = var.environment
  prefix      = var.prefix
  backup_days = var.backup_days
  protect     = var.protect
}

module "key" {
  source = "./modules/storage/key"
  count  = var.standby ? 0 : 1

  environment = var.environment
  alias       = local.name
  description = "Everything that ${local.name} keeps"
}

module "secrets" {
  source = "./modules/storage/secrets"
  count  = var.standby ? 0 : 1

  environment = var.environment
  kms_key_arn = module.key[0].arn
  copies      = one(module.copies[*].targets)
  protect     = var.protect
}

module "values" {
  source = "./modules/storage/values"
  count  = var.standby ? 0 : 1

  secret_ids        = module.secrets[0].arns
  database_hostname = local.database_name
}

module "storage" {
  source = "./modules/storage"
  count  = var.standby ? 0 : 1

  environment         = var.environment
  prefix              = var.prefix
  database_subnet_ids = module.networking.database_subnet_ids
  security_group_ids  = module.networking.security_group_ids
  kms_key_arn         = module.key[0].arn
  redis_auth_token    = module.values[0].redis_auth_token
  redis_url_secret_id = module.secrets[0].arns["redis-url"]
  copies              = one(module.copies[*].targets)
  protect             = var.protect
  database            = var.database
  cache               = var.cache
  backup_days         = var.backup_days
  create_repository   = var.create_repository
}

module "standby" {
  source = "./modules/standby"
  count  = var.standby ? 1 : 0

  environment         = var.environment
  prefix              = var.prefix
  database_subnet_ids = module.networking.database_subnet_ids
}

module "compute" {
  source = "./modules/compute"

  environment        = var.environment
  prefix             = var.prefix
  region             = var.region
  dr_region          = var.dr_region
  standby            = var.standby
  vpc_id             = module.networking.vpc_id
  private_subnet_ids = module.networking.private_subnet_ids
  security_group_ids = module.networking.security_group_ids
  certificate_arn    = one(aws_acm_certificate_validation.serving[*].certificate_arn)
  endpoint           = var.domain == null ? null : "https://serving.${var.domain}"
  kms_key_arn        = local.kms_key_arn
  bucket_arns        = local.bucket_arns
  bucket_names       = local.bucket_names
  secret_arns        = local.secret_arns
  backup             = one(module.storage[*].backup)
  database_address   = local.database_name
  database_port      = 5432
  ecr_repository_url = local.ecr_repository_url
  image_tags         = var.image_tags
  sizes              = var.sizes
  scaling            = var.scaling
  log_retention_days = var.log_retention_days
  venues             = var.venues
  trading            = var.trading
  alerts             = var.alerts
  api_metrics        = var.api_metrics
  mwaa_environment   = var.airflow.enabled ? local.name : null
  mail               = var.mail
  monitoring_files   = local.monitoring_files
  ib_gateway         = var.ib_gateway
  settings           = var.settings
}

module "airflow" {
  source = "./modules/airflow"

  enabled                = var.airflow.enabled
  environment            = var.environment
  prefix                 = var.prefix
  private_subnet_ids     = slice(module.networking.private_subnet_ids, 0, 2)
  security_group_id      = module.networking.security_group_ids["airflow"]
  kms_key_arn            = local.kms_key_arn
  airflow_bucket_arn     = local.bucket_arns["airflow"]
  cluster_arn            = module.compute.cluster_arn
  cluster_name           = module.compute.cluster_name
  step_family            = module.compute.task_definition_families["step"]
  step_role_arns         = [module.compute.task_role_arns["step"], module.compute.execution_role_arns["step"]]
  step_subnet_ids        = module.networking.private_subnet_ids
  step_security_group_id = module.networking.security_group_ids["step"]
  mwaa_environment_class = var.airflow.environment_class
  airflow_version        = var.airflow.version
  requirements_version   = var.airflow.requirements_version
  plugins_version        = var.airflow.plugins_version
  startup_script_version = var.airflow.startup_script_version
  log_retention_days     = var.log_retention_days
}

module "monitoring" {
  source = "./modules/monitoring"

  environment               = var.environment
  kms_key_arn               = local.kms_key_arn
  emails                    = var.alarm_emails
  alb_arn_suffix            = module.compute.alb_arn_suffix
  target_group_arn_suffixes = module.compute.target_group_arn_suffixes
  cluster_name              = module.compute.cluster_name
  service_names             = module.compute.service_names
  airflow_name              = var.airflow.enabled ? local.name : null

  database = var.standby ? null : {
    id              = module.storage[0].database_id
    storage_gib     = var.database.allocated_storage
    max_connections = var.database.max_connections
  }
  redis = var.standby ? null : {
    id    = module.storage[0].redis_id
    nodes = var.cache.nodes
  }
}

module "dns" {
  source = "./modules/dns"

  environment = var.environment
  vpc_id      = module.networking.vpc_id
  load_balancer = {
    dns_name   = module.compute.alb_dns_name
    zone_id    = module.compute.alb_zone_id
    arn_suffix = module.compute.alb_arn_suffix
  }
  target_group_suffixes = module.compute.target_group_arn_suffixes
  database_address      = var.standby ? null : module.storage[0].database_address
  domain                = var.domain
  public_zone_id        = local.public_zone
  failover_role         = var.standby ? "SECONDARY" : "PRIMARY"
}
