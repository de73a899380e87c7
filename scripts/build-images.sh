#!/usr/bin/env bash
# Build the container images, tag them as AWS expects them, and push them if asked.
#
# usage: scripts/build-images.sh [options] [serving|platform|airflow ...]
#   --registry R   where they belong, such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com (default: this machine)
#   --version V    what they are called by (default: that of pyproject.toml)
#   --push         push each after all are built; log in to the registry before
#   --pin-base     write the digest that the base image has now into the Dockerfiles, and end
#   --dry-run      print the commands, run none
#   --help
#
# Makes [R/]autotrader:<image>-<version>. Uses docker, else buildah; CONTAINER_TOOL names one. PLATFORM is what they
# are built for (linux/amd64). Only what can be made again is pushed: --push refuses a base image without a digest,
# and files that are not committed.
# Exit codes: 0 done, 1 failed, 2 usage or no tool, 4 refused.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/lib/log.sh"

registry='' version='' push='' pin_base='' dry_run=''
images=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) help_of "$0"; exit 0 ;;
    --registry | --version)
      [ -n "${2-}" ] || die "expected a value after $1" 2
      if [ "$1" = --registry ]; then registry=${2%/}/; else version=$2; fi
      shift ;;
    --push) push=yes ;;
    --pin-base) pin_base=yes ;;
    --dry-run) dry_run=yes ;;
    serving | platform | airflow) images+=("$1") ;;
    *) die "expected serving, platform, airflow or an option, was '$1': see --help" 2 ;;
  esac
  shift
done
cd "$root"
[ ${#images[@]} -gt 0 ] || images=(serving platform airflow)
version=${version:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
[[ $version =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$ ]] || die "expected a version that can be part of a tag, was '$version'" 2
[ -z "$push" ] || [ -n "$registry" ] || die "expected --registry with --push: an image without one goes nowhere" 2

tool=${CONTAINER_TOOL-}
for candidate in docker buildah; do
  [ -n "$tool" ] || ! command -v "$candidate" >/dev/null || tool=$candidate
done
case $(basename "${tool:-none}") in
  docker) build=("$tool" build) ;;
  buildah) build=("$tool" build --format docker) ;; # its own format has no health checks
  *) die "expected docker or buildah, found '${tool:-neither}': install one, or name it in CONTAINER_TOOL" 2 ;;
esac

run() {
  printf '%q ' "$@"
  printf '\n'
  [ -n "$dry_run" ] || "$@" >&2 || die "failed: $*"
}

dockerfiles=(images/*/Dockerfile)
base=$(sed -n 's/^ARG BASE_IMAGE=//p' "${dockerfiles[@]}" | sort -u)
[ "$(wc -l <<<"$base")" = 1 ] || die "expected one base image in ${dockerfiles[*]}, were: ${base//$'\n'/, }"

if [ -n "$pin_base" ]; then
  run "$tool" pull "${base%@*}"
  [ -z "$dry_run" ] || exit 0
  if [ "$(basename "$tool")" = docker ]; then
    said=$("$tool" image inspect --format '{{index .RepoDigests 0}}' "${base%@*}")
  else
    said=$("$tool" inspect --type image --format '{{.FromImageDigest}}' "${base%@*}")
  fi
  [[ $said =~ sha256:[0-9a-f]{64}$ ]] || die "expected the digest of ${base%@*}, was '$said'"
  sed -i "s|^ARG BASE_IMAGE=.*|ARG BASE_IMAGE=${base%@*}@${BASH_REMATCH[0]}|" "${dockerfiles[@]}"
  info "pinned ${base%@*} to ${BASH_REMATCH[0]}: commit ${dockerfiles[*]}"
  exit 0
fi

revision=$(git rev-parse HEAD)
if [ -n "$(git status --porcelain)" ]; then
  [ -z "$push" ] || die "expected a clean work tree, so that $revision is what is in the images: commit first" 4
  revision=$revision-dirty
fi
[ -z "$push" ] || [[ $base == *@sha256:* ]] || die "expected a base image with its digest, was $base: run --pin-base, and commit" 4

tags=()
for image in "${images[@]}"; do
  tag=${registry}autotrader:$image-$version
  run "${build[@]}" --platform "${PLATFORM:-linux/amd64}" --file "images/$image/Dockerfile" --tag "$tag" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" .
  tags+=("$tag")
done
[ -z "$push" ] || for tag in "${tags[@]}"; do run "$tool" push "$tag"; done
