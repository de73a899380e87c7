# Our processes that are one container a task. What each runs is what its image runs by hand; the image's own entry
# point, an init that passes signals on and reaps, stays.

locals {
  images = {
    serving  = "${var.ecr_repository_url}:serving-${var.image_tags.serving}"
    platform = "${var.ecr_repository_url}:platform-${var.image_tags.platform}"
  }

  # Asked inside the container. Any answer below 400 is health; what it costs is one start of Python.
  asks = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=4)"

  processes = {
    trader = {
      command      = ["python", "-m", "autotrader.apps.trader"]
      health       = "http://127.0.0.1:${local.ports["trader"]}/metrics"
      stop_seconds = 30 # it needs 10: no new orders, state written, lease released
    }
    # It answers nobody: that it lives, it says by renewing `green_until`.
    controller = {
      command      = ["python", "-m", "autotrader.apps.controller"]
      health       = null
      stop_seconds = 30
    }
    # Not /health: it says 503 while the trader or the database is away, and a restart helps neither.
    api = {
      command      = ["python", "-m", "autotrader.apps.api"]
      health       = "http://127.0.0.1:${local.ports["api"]}/openapi.json"
      stop_seconds = 20
    }
    # What is read from stores, for Prometheus. A source that is away takes its own metrics with it, and no restart
    # brings it back: /health tells of it and is 200.
    exporter = {
      command      = ["python", "-m", "autotrader.apps.exporter"]
      health       = "http://127.0.0.1:${local.ports["exporter"]}/health"
      stop_seconds = 20
    }
    # It answers nobody: whether it lives, the exporter reads from the database (component alert_delivery).
    alerts = {
      command      = ["python", "-m", "autotrader.apps.alerts"]
      health       = null
      stop_seconds = 35 # it gives a message under way 25
    }
    mlflow = {
      command = [
        "python", "-m", "mlflow", "server",
        "--host", "0.0.0.0", "--port", tostring(local.ports["mlflow"]), "--workers", "2",
      ]
      health       = "http://127.0.0.1:${local.ports["mlflow"]}/health"
      stop_seconds = 30
    }
    # Run once, with a command of its own: --name STEP --key JSON behind this one.
    step = {
      command      = ["python", "-m", "autotrader.pipelines.run_step"]
      health       = null
      stop_seconds = 120
    }
  }

  process_containers = { for name, process in local.processes : name => [{
    name                   = name
    image                  = local.images.platform
    essential              = true
    command                = process.command
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    stopTimeout            = process.stop_seconds
    environment            = local.environment_lists[name]
    secrets                = local.secret_lists[name]
    linuxParameters        = local.linux_parameters
    logConfiguration       = local.log_configurations[name]
    portMappings           = local.port_mappings[name]
    mountPoints = [
      { sourceVolume = "home", containerPath = local.home, readOnly = contains(keys(local.shown), name) },
      { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
    ]
    healthCheck = process.health == null ? null : {
      command     = ["CMD", "python", "-c", local.asks, process.health]
      interval    = 30
      timeout     = 5
      retries     = 5
      startPeriod = 300
    }
  }] }
}
