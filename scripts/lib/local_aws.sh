# shellcheck shell=bash
# The local AWS of the tests for as long as a command runs. Source it.

# start_local_aws FOLDER: what is started from this shell talks to it from now on. FOLDER keeps its output.
start_local_aws() {
  local port deadline
  port=$(.venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
  unset AWS_PROFILE AWS_SESSION_TOKEN AWS_REGION
  .venv/bin/python -m tests.fakes.aws --port "$port" >"$1/aws.log" 2>&1 &
  local_aws_process=$!
  printf '%s\n' "$local_aws_process" >"$1/aws.pid"
  deadline=$((SECONDS + 60))
  until curl --silent --fail --noproxy '*' --output /dev/null "$AWS_ENDPOINT_URL/_faults"; do
    if [ $SECONDS -ge $deadline ] || ! kill -0 "$local_aws_process" 2>/dev/null; then
      cat "$1/aws.log" >&2
      return 1
    fi
    sleep 0.2
  done
}

# stop_local_aws FOLDER
stop_local_aws() {
  [ ! -s "$1/aws.pid" ] || kill "$(cat "$1/aws.pid")" 2>/dev/null || true
}
