variable "secret_ids" {
  description = "By name."
  type        = map(string)
}

variable "database_hostname" {
  description = "Name under which the tasks reach the database."
  type        = string
}
