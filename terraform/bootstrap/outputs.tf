output "buckets" {
  description = "By primary and dr: what the backend configurations name."
  value       = { primary = module.primary.name, dr = module.dr.name }
}
