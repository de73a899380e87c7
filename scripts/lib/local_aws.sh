# shellcheck shell=bash
# The local AWS of the tests for as long as a command runs. Source it.

# start_local_aws FOLDER: what is started from this shell talks to it from now on. FOLDER keeps its output.
start_local_aws() {
  local deadline
  export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
  unset AWS_PROFILE AWS_SESSION_TOKEN AWS_REGION
  .venv/bin/python -m tests.fakes.aws --port 0 >"$1/aws.port" 2>"$1/aws.log" &
  local_aws_process=$!
  printf '%s\n' "$local_aws_process" >"$1/aws.pid"
  deadline=$((SECONDS + 180))
  until [ -s "$1/aws.port" ]; do # it listens
    if [ $SECONDS -ge $deadline ] || ! kill -0 "$local_aws_process" 2>/dev/null; then
      cat "$1/aws.log" >&2
      return 1
    fi
    sleep 0.2
  done
  AWS_ENDPOINT_URL=http://127.0.0.1:$(<"$1/aws.port")
  export AWS_ENDPOINT_URL
}

# stop_local_aws FOLDER
stop_local_aws() {
  [ ! -s "$1/aws.pid" ] || kill "$(cat "$1/aws.pid")" 2>/dev/null || true
}
