output "name" {
  description = "Name of the bucket, once it is safe to use."
  value       = aws_s3_bucket_policy.state.bucket
}
