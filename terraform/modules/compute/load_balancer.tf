# The internal load balancer. Who is asked says the caller, by the header X-Autotrader-Color; the weights are for
# callers that name no colour. Both are changed by deployments and by break-glass, never back by an apply.

locals {
  # The name is known when a plan is made, the certificate may not be: a validation asks for both or none.
  is_encrypted = var.endpoint != null
}

resource "aws_lb" "this" {
  # checkov:skip=CKV2_AWS_28: A WAF guards what the internet reaches; this one is internal, its callers are our own tasks and name a token.
  # checkov:skip=CKV_AWS_150: On in production alone: staging and dev are to be destroyed and made again.
  name               = local.name
  internal           = true
  load_balancer_type = "application"
  security_groups    = [var.security_group_ids["alb"]]
  subnets            = var.private_subnet_ids

  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_deletion_protection = var.environment == "production"
  idle_timeout               = 60

  access_logs {
    bucket  = var.bucket_names["logs"]
    prefix  = "alb"
    enabled = true
  }
}

resource "aws_lb_target_group" "color" {
  # checkov:skip=CKV_AWS_378: TLS ends at the load balancer; behind it is a security group that lets in nobody else, and the service asks for a token.
  for_each = local.colors

  name                 = "${local.name}-${each.key}"
  port                 = local.ports["serving"]
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  deregistration_delay = 30

  health_check {
    path                = "/health"
    port                = "traffic-port"
    protocol            = "HTTP"
    matcher             = "200"
    interval            = 30
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "main" {
  # checkov:skip=CKV_AWS_2: HTTPS wherever there is a certificate, and a validation asks for one but in dev.
  # checkov:skip=CKV_AWS_103: TLS 1.3 wherever there is a certificate.
  load_balancer_arn = aws_lb.this.arn
  port              = local.is_encrypted ? 443 : 80
  protocol          = local.is_encrypted ? "HTTPS" : "HTTP"
  ssl_policy        = local.is_encrypted ? "ELBSecurityPolicy-TLS13-1-3-2021-06" : null
  certificate_arn   = var.certificate_arn

  default_action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.color["blue"].arn
        weight = 100
      }
      target_group {
        arn    = aws_lb_target_group.color["green"].arn
        weight = 0
      }
    }
  }

  lifecycle {
    ignore_changes = [default_action]
  }
}

resource "aws_lb_listener" "redirect" {
  count = local.is_encrypted ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener_rule" "color" {
  for_each = { blue = 10, green = 20 }

  listener_arn = aws_lb_listener.main.arn
  priority     = each.value

  condition {
    http_header {
      http_header_name = "X-Autotrader-Color"
      values           = [each.key]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.color[each.key].arn
  }

  lifecycle {
    ignore_changes = [action]
  }
}
