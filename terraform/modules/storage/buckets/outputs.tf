output "names" {
  description = "By data, models, logs, features, airflow, backups."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.bucket }
}

output "arns" {
  description = "By the same names."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }
}

output "versioned" {
  description = "As arns, once the buckets are versioned: replication wants that on both sides."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }
  depends_on  = [aws_s3_bucket_versioning.this]
}
