# What each process may do on AWS. Who is missing here does nothing there.

locals {
  data    = var.bucket_arns["data"]
  models  = var.bucket_arns["models"]
  airflow = var.bucket_arns["airflow"]
  backups = var.bucket_arns["backups"]

  # Listing is of the whole bucket: only so does S3 say of an object that it is not there, rather than that one may
  # not ask, and both Delta Lake and the releases depend on the difference.
  lake_reading = [
    { Sid = "ListLake", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.data] },
    { Sid = "ReadLake", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.data}/lake/*"] },
  ]
  lake_writing = [
    { Sid = "ListLake", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.data] },
    {
      Sid      = "WriteLake"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      Resource = ["${local.data}/lake/*"]
    },
  ]

  # What lies in the buckets is encrypted with the key; S3 alone may use it for them.
  through_s3 = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
  decrypting = [{
    Sid       = "ReadEncrypted"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = [var.kms_key_arn]
    Condition = local.through_s3
  }]
  encrypting = [{
    Sid       = "WriteEncrypted"
    Effect    = "Allow"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [var.kms_key_arn]
    Condition = local.through_s3
  }]

  # Through AWS with a role of Airflow's own, which is all that MWAA lets the caller do there:
  # https://docs.aws.amazon.com/mwaa/latest/userguide/access-policies.html
  asking_airflow = { for role in ["Viewer", "User"] : role => [for name in var.mwaa_environment[*] : {
    Sid      = "AskAirflow"
    Effect   = "Allow"
    Action   = ["airflow:InvokeRestApi"]
    Resource = ["arn:${local.partition}:airflow:${var.region}:${local.account}:role/${name}/${role}"]
  }] }

  own_folder = { for name, kept in local.kept : name => [{
    Sid       = "OwnFolder"
    Effect    = "Allow"
    Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    Resource  = [aws_efs_file_system.this.arn]
    Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.this[name].arn } }
  }] }

  colour_services = [for color in local.colors : "${local.ecs_arn}:service/${local.name}/trading-${color}"]
  # A revision is part of a task definition's name, and deployments make new ones.
  colour_definitions = [for color in local.colors : "${local.ecs_arn}:task-definition/${local.name}-serving-${color}:*"]

  # What adapters/ecs_target.py asks for, to say how a colour is.
  looking = [
    {
      Sid      = "SeeColours"
      Effect   = "Allow"
      Action   = ["ecs:DescribeServices"]
      Resource = local.colour_services
    },
    {
      Sid      = "SeeTasks"
      Effect   = "Allow"
      Action   = ["ecs:DescribeTasks"]
      Resource = ["${local.ecs_arn}:task/${local.name}/*"]
    },
    {
      Sid       = "ListTasks"
      Effect    = "Allow"
      Action    = ["ecs:ListTasks"]
      Resource  = ["*"]
      Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
    },
    # AWS knows no resources for these; they read.
    {
      Sid    = "See"
      Effect = "Allow"
      Action = [
        "ecs:DescribeTaskDefinition",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
      ]
      Resource = ["*"]
    },
  ]

  # adapters/ecs_services.py, ecs_front_door.py and ecs_releases.py are all that it calls.
  deploying = concat(local.looking, [
    {
      Sid      = "RunColours"
      Effect   = "Allow"
      Action   = ["ecs:UpdateService"]
      Resource = local.colour_services
    },
    {
      Sid      = "DefineColours"
      Effect   = "Allow"
      Action   = ["ecs:RegisterTaskDefinition"]
      Resource = local.colour_definitions
    },
    {
      Sid       = "TagDefinitions"
      Effect    = "Allow"
      Action    = ["ecs:TagResource"]
      Resource  = local.colour_definitions
      Condition = { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }
    },
    {
      Sid      = "PassRolesOfColours"
      Effect   = "Allow"
      Action   = ["iam:PassRole"]
      Resource = [aws_iam_role.task["serving"].arn, aws_iam_role.execution["serving"].arn]
      Condition = {
        StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" }
      }
    },
    {
      Sid      = "PointListener"
      Effect   = "Allow"
      Action   = ["elasticloadbalancing:ModifyListener"]
      Resource = [aws_lb_listener.main.arn]
    },
    { Sid = "ListReleases", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.models] },
    {
      Sid      = "WriteReleases"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = ["${local.models}/releases/*"]
    },
  ])

  task_statements = {
    # The release comes in by its init container, predictions leave by the shipper.
    serving = concat(
      local.lake_writing,
      local.encrypting,
      [
        { Sid = "ListReleases", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.models] },
        { Sid = "ReadReleases", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.models}/releases/*"] },
      ],
    )
    trader     = concat(local.lake_reading, local.decrypting, local.own_folder["trader"])
    controller = concat(local.lake_reading, local.deploying, local.encrypting, local.own_folder["controller"])
    # A user may start runs and end them: jobs.
    api = local.asking_airflow["User"]
    # It looks, and changes nothing: the home that it is shown is of steps.
    exporter = concat(local.lake_reading, local.decrypting, local.looking, local.asking_airflow["Viewer"], [{
      Sid       = "ReadSteps"
      Effect    = "Allow"
      Action    = ["elasticfilesystem:ClientMount"]
      Resource  = [aws_efs_file_system.this.arn]
      Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.this[local.shown["exporter"]].arn } }
    }])
    alerts = concat(local.own_folder["alerts"], local.asking_airflow["Viewer"])
    mlflow = concat(
      [
        { Sid = "ListArtifacts", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.models] },
        {
          Sid      = "WriteArtifacts"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
          Resource = ["${local.models}/mlflow/*"]
        },
      ],
      local.encrypting,
    )
    step = concat(
      local.lake_writing,
      local.encrypting,
      local.own_folder["step"],
      local.asking_airflow["Viewer"],
      [
        # Raw pages are never deleted: the lake is rebuilt from them.
        {
          Sid      = "WriteArchive"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
          Resource = ["${local.data}/archive/*"]
        },
        {
          Sid      = "AnswerAirflow"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = ["${local.airflow}/steps/*"]
        },
        { Sid = "ListQuestions", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.airflow] },
        # Backups: what is copied beside lake and archive, and the sets, of which the oldest are forgotten. The bucket
        # keeps for a while what was deleted.
        { Sid = "ListModels", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.models, local.backups] },
        {
          Sid      = "ReadModels"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${local.models}/mlflow/*", "${local.models}/releases/*"]
        },
        {
          Sid      = "WriteBackups"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
          Resource = ["${local.backups}/sets/*"]
        },
      ],
    )
    alertmanager = local.own_folder["alertmanager"]
    grafana      = local.own_folder["grafana"]
  }
}
