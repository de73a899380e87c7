#!/usr/bin/env bash
# Traffic away from the candidate on AWS without database, controller or Python: aws command line only.
#
# usage: scripts/break_glass.sh ENVIRONMENT --reason WHY [--color blue|green] [--dry-run] [--yes] [--help]
#        scripts/break_glass.sh ENVIRONMENT --undo --reason WHY [--dry-run] [--yes]
#   ENVIRONMENT    staging or production (or dev, where dev is on AWS)
#   --color COLOR  the colour to leave; default: the one that is not live, as the load balancer shows it
#   --undo         each colour's rule leads to its own target group again
#   --reason WHY   recorded in the operation's journal: tell it to the event log once there is one
#   --dry-run      show every rule and what would be changed, and change nothing
#   --yes          do not ask; for automation
#
# For when the database is gone or nobody can wait for it; otherwise use rollback_model_auto.sh.
# The rule for the header `X-Autotrader-Color: <colour>` is pointed at the other colour's target group, so
# that callers who ask for that colour get the other one's answers (or, where these name their colour, its
# refusal: they then have no prediction to act on). Refused unless the other group has a healthy
# target. The records are not changed: when the database is back, roll back there, then --undo.
# Region: AUTOTRADER_AWS__REGION or AWS_REGION. Cut off? Run it again: it goes on.
# Exit codes: 0 done, 1 failed, 2 usage or credentials, 3 AWS did not answer (run again), 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"
. "$root/scripts/lib/assert.sh"
. "$root/scripts/lib/confirm.sh"
. "$root/scripts/lib/aws.sh"
. "$root/scripts/lib/steps.sh"

HEADER=X-Autotrader-Color

read_command_line "--undo" "--color" "$@"
require_words 1 ENVIRONMENT
require_environment "${words[0]}"
require_reason
environment=${words[0]} color=${given[--color]-} undo=${given[--undo]-}
[[ $color =~ ^(|blue|green)$ ]] || usage "expected --color blue or green, was '$color'"
[ -z "$undo" ] || [ -z "$color" ] || usage "expected --undo or --color, was both"
cd "$root"
home=${AUTOTRADER_HOME:-.autotrader}
know_region

other_of() { if [ "$1" = blue ]; then echo green; else echo blue; fi; }

# Sets group_of[COLOR], rule_of[COLOR], target_of[COLOR] and weight_of[COLOR]: the load balancer as it is.
look() {
  local balancer groups listeners rules listener arn name rule target
  declare -gA group_of=() rule_of=() target_of=() weight_of=([blue]=0 [green]=0)
  balancer=$(aws_call elbv2 describe-load-balancers --names "autotrader-$environment" \
    --query 'LoadBalancers[0].LoadBalancerArn')
  groups=$(aws_call elbv2 describe-target-groups \
    --names "autotrader-$environment-blue" "autotrader-$environment-green" \
    --query 'TargetGroups[].[TargetGroupName,TargetGroupArn]')
  while read -r name arn; do group_of[${name##*-}]=$arn; done <<<"$groups"
  # A line for each share of a default action; a listener that redirects has none.
  listeners=$(aws_call elbv2 describe-listeners --load-balancer-arn "$balancer" --query \
    "Listeners[?DefaultActions[0].Type=='forward'].[ListenerArn,DefaultActions[0].ForwardConfig.TargetGroups[0].[TargetGroupArn,Weight],DefaultActions[0].ForwardConfig.TargetGroups[1].[TargetGroupArn,Weight]][][]")
  listener=''
  for arn in $listeners; do
    case $arn in
      *:listener/*) listener=$arn ;;
      *:targetgroup/*) name=$(name_of "$arn") ;;
      *) weight_of[$name]=$arn ;;
    esac
  done
  [ -n "$listener" ] || die "expected a listener that forwards on autotrader-$environment, was none" 1
  rules=$(aws_call elbv2 describe-rules --listener-arn "$listener" --query \
    "Rules[].[RuleArn,Actions[0].TargetGroupArn || Actions[0].ForwardConfig.TargetGroups[0].TargetGroupArn,Conditions[?HttpHeaderConfig.HttpHeaderName=='$HEADER'].HttpHeaderConfig.Values[] | [0]]")
  while read -r rule target name; do
    if [[ $name =~ ^(blue|green)$ ]]; then rule_of[$name]=$rule target_of[$name]=$target; fi
  done <<<"$rules"
  for name in blue green; do
    [ -n "${rule_of[$name]-}" ] || die "expected a rule for $HEADER: $name on autotrader-$environment, was none" 1
  done
}

name_of() { # TARGET_GROUP_ARN
  local name
  for name in blue green; do
    if [ "$1" = "${group_of[$name]}" ]; then echo "$name"; return; fi
  done
  echo "$1"
}

show() {
  local name
  for name in blue green; do
    say "$name: its rule leads to $(name_of "${target_of[$name]}"); weight ${weight_of[$name]} for callers without a colour"
  done
}

# The candidate is the colour without weight; never assumed where that is not clear.
candidate() {
  case ${weight_of[blue]}:${weight_of[green]} in
    0:[1-9]*) echo blue ;;
    [1-9]*:0) echo green ;;
    *) die "expected one live colour, was weights blue ${weight_of[blue]}, green ${weight_of[green]}: give --color, the one to leave" 4 ;;
  esac
}

require_healthy() { # COLOR
  local healthy
  healthy=$(aws_call elbv2 describe-target-health --target-group-arn "${group_of[$1]}" \
    --query "length(TargetHealthDescriptions[?TargetHealth.State=='healthy'])") || return
  if [ "${healthy:-0}" -lt 1 ]; then
    die "refused: $1 has no healthy target, traffic would go nowhere: nothing was changed" 4
  fi
  say "$1 has $healthy healthy targets"
}

# shellcheck disable=SC2329 # called by step
point() { # COLOR TARGET_COLOR
  aws_call elbv2 modify-rule --rule-arn "${rule_of[$1]}" \
    --actions "Type=forward,TargetGroupArn=${group_of[$2]}" --query 'Rules[0].RuleArn'
}

# shellcheck disable=SC2329 # called by step
check() { # COLOR TARGET_COLOR
  local target
  target=$(aws_call elbv2 describe-rules --rule-arns "${rule_of[$1]}" --query \
    'Rules[0].Actions[0].[TargetGroupArn || ForwardConfig.TargetGroups[0].TargetGroupArn]') || return
  if [ "$target" != "${group_of[$2]}" ]; then
    info "expected the rule of $1 to lead to $2, was $(name_of "$target")"
    return 3
  fi
}

look
show
if [ -n "$undo" ]; then
  changes=(blue:blue green:green)
else
  color=${color:-$(candidate)}
  changes=("$color:$(other_of "$color")")
  require_healthy "${changes[0]#*:}"
fi
for change in "${changes[@]}"; do
  info "${dry_run:+dry run: }the rule of ${change%:*} is to lead to ${change#*:} (${group_of[${change#*:}]})"
done
[ -z "$dry_run" ] || exit 0
confirm "$environment" "This moves live traffic of $environment, past database and controller."
begin_operation break_glass "break_glass-$environment-${undo:+undo-}${color:-all}"
for change in "${changes[@]}"; do
  from=${change%:*} to=${change#*:}
  if [ "${target_of[$from]}" = "${group_of[$to]}" ]; then
    say "the rule of $from leads to $to already"
    continue
  fi
  forget_steps "point-$from" # what the load balancer says counts, not the journal
  step "point-$from" "the rule of $from to $to" point "$from" "$to"
done
for change in "${changes[@]}"; do
  step "check-${change%:*}" "the rule of ${change%:*} leads to ${change#*:}" patiently 30 check "${change%:*}" "${change#*:}"
done
say "measured: traffic moved within $(seconds_since "$began") s"
if [ -n "$undo" ]; then
  finish "each colour's rule leads to its own target group; nothing is left to do"
fi
finish "nothing is left to do here. When the database is back: rollback_model_auto.sh, then scripts/break_glass.sh $environment --undo --reason WHY"
