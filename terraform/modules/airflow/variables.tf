variable "enabled" {
  description = "Whether there is an environment. Without, Airflow runs elsewhere (docs on executors) and nothing is made here."
  type        = bool
  default     = true
}

variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "prefix" {
  description = "What bucket names begin with: steps are handed over in <prefix>-airflow."
  type        = string
}

variable "private_subnet_ids" {
  description = "The two subnets of the environment, in different zones: MWAA takes exactly two, and keeps them for life."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) == 2
    error_message = "Expected exactly two private subnets, which is what MWAA takes."
  }
}

variable "security_group_id" {
  description = "Security group of the environment, whose members may speak to each other."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts the environment and its logs."
  type        = string
}

variable "airflow_bucket_arn" {
  description = "Bucket of DAGs, requirements and plugins, and of the steps' keys and outcomes: versioned, with public access blocked."
  type        = string
}

variable "cluster_arn" {
  description = "ECS cluster in which steps run."
  type        = string
}

variable "cluster_name" {
  description = "Its name."
  type        = string
}

variable "step_family" {
  description = "Family of the task definition of a step: all that Airflow may run."
  type        = string
}

variable "step_role_arns" {
  description = "Task role and execution role of a step: all that Airflow may pass."
  type        = list(string)
}

variable "step_subnet_ids" {
  description = "Subnets of the steps' tasks."
  type        = list(string)
}

variable "step_security_group_id" {
  description = "Security group of the steps' tasks."
  type        = string
}

variable "step_capacity_provider" {
  description = "FARGATE_SPOT makes steps cheaper and interruptible (they are started again); empty is Fargate on demand."
  type        = string
  default     = ""

  validation {
    condition     = contains(["", "FARGATE", "FARGATE_SPOT"], var.step_capacity_provider)
    error_message = "Expected FARGATE, FARGATE_SPOT or nothing."
  }
}

variable "step_sizes" {
  description = "Beginning of a step's name to CPU units and MiB, such as { \"training.\" = [4096, 16384] }; other steps get the task definition's."
  type        = map(list(number))
  default     = {}

  validation {
    condition     = alltrue([for size in values(var.step_sizes) : length(size) == 2])
    error_message = "Expected two numbers each: CPU units and MiB."
  }
}

variable "mwaa_environment_class" {
  description = "Size of scheduler, web server and workers, such as mw1.small. Steps run in ECS, so that it may be small."
  type        = string
  default     = "mw1.small"
}

variable "airflow_version" {
  description = "A version that MWAA offers; deploy/mwaa/ holds requirements and constraints for it."
  type        = string
  default     = "3.0.6"
}

variable "max_workers" {
  description = "Workers at most; one is kept."
  type        = number
  default     = 5
}

variable "dags_path" {
  description = "Folder of the DAGs in the bucket."
  type        = string
  default     = "dags"
}

variable "requirements_path" {
  description = "Key of requirements.txt in the bucket; null for none."
  type        = string
  default     = "requirements.txt"
}

variable "requirements_version" {
  description = "Version of that object: MWAA installs another one only when told so."
  type        = string
  default     = null
}

variable "plugins_path" {
  description = "Key of plugins.zip in the bucket: our package, without which no DAG can be read."
  type        = string
  default     = "plugins.zip"
}

variable "plugins_version" {
  description = "Version of that object."
  type        = string
  default     = null
}

variable "startup_script_path" {
  description = "Key of startup.sh in the bucket; null for none."
  type        = string
  default     = "startup.sh"
}

variable "startup_script_version" {
  description = "Version of that object."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "How long Airflow's logs are kept."
  type        = number
  default     = 365
}
