# Names of what moves. Inside the VPC <name>.aws.autotrader-<environment>.internal; beside it compute's own names of
# processes (Cloud Map). With a domain, serving.<domain> in the public zone, with failover between two regions: its
# addresses are private, so it is of use to who is in the VPC or its VPN alone.

locals {
  name = "autotrader-${var.environment}"
}

resource "aws_route53_zone" "private" {
  name    = "aws.${local.name}.internal"
  comment = "Load balancer and database of ${local.name}"

  vpc {
    vpc_id = var.vpc_id
  }
}

resource "aws_route53_record" "serving" {
  zone_id = aws_route53_zone.private.zone_id
  name    = "serving.${aws_route53_zone.private.name}"
  type    = "A"

  alias {
    name                   = var.load_balancer.dns_name
    zone_id                = var.load_balancer.zone_id
    evaluate_target_health = false
  }
}

# A restore points it at another instance; an apply leaves it there. A failover writes the address into the secrets instead.
resource "aws_route53_record" "database" {
  zone_id = aws_route53_zone.private.zone_id
  name    = "database.${aws_route53_zone.private.name}"
  type    = "CNAME"
  ttl     = 30
  records = [coalesce(var.database_address, "not-restored.invalid")]

  lifecycle {
    ignore_changes = [records]
  }
}
