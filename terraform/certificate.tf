# TLS of the internal load balancer: a public certificate of serving.<domain>, proven by a record in the domain's zone. The
# name resolves to private addresses. It is here and not in modules/dns, which needs the load balancer, which needs this.

locals {
  makes_zone  = var.domain != null && var.public_zone_id == null && !var.standby
  seeks_zone  = var.domain != null && var.public_zone_id == null && var.standby
  certificate = var.domain == null ? 0 : 1
  public_zone = one(concat(
    compact([var.public_zone_id]),
    aws_route53_zone.public[*].zone_id,
    data.aws_route53_zone.public[*].zone_id,
  ))
}

resource "aws_route53_zone" "public" {
  #checkov:skip=CKV2_AWS_38:its one name resolves to private addresses, and TLS says who answers there
  #checkov:skip=CKV2_AWS_39:query logs of a public zone are kept in us-east-1 alone, and this one is asked by our own VPC
  count = local.makes_zone ? 1 : 0

  name    = var.domain
  comment = "serving.${var.domain}"
}

data "aws_route53_zone" "public" {
  count = local.seeks_zone ? 1 : 0

  name = var.domain
}

resource "aws_acm_certificate" "serving" {
  count = local.certificate

  domain_name       = "serving.${var.domain}"
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# The two regions ask for the same proof.
resource "aws_route53_record" "proof" {
  count = local.certificate

  zone_id         = local.public_zone
  name            = tolist(aws_acm_certificate.serving[0].domain_validation_options)[0].resource_record_name
  type            = tolist(aws_acm_certificate.serving[0].domain_validation_options)[0].resource_record_type
  records         = [tolist(aws_acm_certificate.serving[0].domain_validation_options)[0].resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "serving" {
  count = local.certificate

  certificate_arn         = aws_acm_certificate.serving[0].arn
  validation_record_fqdns = aws_route53_record.proof[*].fqdn
}

# `.example` is nobody's (RFC 2606): fine for a plan, but no authority will certify it.
check "domain_is_real" {
  assert {
    condition     = var.domain == null || !endswith(coalesce(var.domain, "none"), ".example")
    error_message = "Expected a domain of yours, was ${coalesce(var.domain, "none")}: set `domain` before you apply."
  }
}
