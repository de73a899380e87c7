# shellcheck shell=bash
# Calls of the aws command line: never without a region, never with an empty argument, never for ever.
# Needs log.sh and assert.sh. Errors end with our exit codes, in one clear line.

AWS_PATIENCE_SECONDS=${AWS_PATIENCE_SECONDS:-45}

# know_region: sets `region`.
know_region() {
  require_command aws "install it (Debian: apt-get install awscli)"
  region=${AUTOTRADER_AWS__REGION:-${AWS_REGION:-${AWS_DEFAULT_REGION:-}}}
  [[ $region =~ ^[a-z]{2}(-[a-z]+)+-[0-9]$ ]] ||
    die "expected a region such as eu-west-1 in AUTOTRADER_AWS__REGION or AWS_REGION, was '$region'" 2
}

# aws_call SERVICE ACTION WORD...: prints what aws prints, as text; `None` where there is nothing.
aws_call() {
  local word said code=0 endpoint=${AUTOTRADER_AWS__ENDPOINT_URL:-${AWS_ENDPOINT_URL:-}}
  for word; do
    [ -n "$word" ] || die "refused to call aws $1 $2 with an empty argument: nothing was changed" 2
  done
  said=$(mktemp)
  AWS_PAGER='' AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard timeout "$AWS_PATIENCE_SECONDS" \
    aws "$@" --region "$region" --output text --cli-connect-timeout 5 --cli-read-timeout 10 \
    ${endpoint:+--endpoint-url "$endpoint"} 2>"$said" </dev/null || code=$?
  word=$(tr '\n' ' ' <"$said")
  rm -f "$said"
  [ "$code" -ne 0 ] || return 0
  case $code:$word in
    124:*) die "cannot $1 $2: AWS did not answer within $AWS_PATIENCE_SECONDS s: run it again" 3 ;;
    *ExpiredToken* | *RequestExpired* | *InvalidClientTokenId* | *UnrecognizedClient* | *AuthFailure* | \
      *SignatureDoesNotMatch* | *"Unable to locate credentials"* | *"security token"*)
      die "cannot $1 $2: expected AWS credentials that are valid, was: $word: renew those of this shell" 2
      ;;
    *NotFound*) die "cannot $1 $2 in $region: $word: is it the right region and environment?" 1 ;;
    *Throttl* | *"Could not connect"* | *"timeout"* | *"Connection was closed"* | *ServiceUnavailable* | \
      *InternalFailure* | *InternalError* | *"onnection"*)
      die "cannot $1 $2: $word: run it again" 3
      ;;
    *) die "cannot $1 $2: $word" 1 ;;
  esac
}
