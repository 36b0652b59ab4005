#!/usr/bin/env bash
# Builds the image from an empty machine's Debian and runs the demo in it, as its user and without a network.
#   tests/image/check_image.sh                         the whole demo; prints its summary as JSON
#   tests/image/check_image.sh --synthetic --clicks 20000    further arguments go to `divspa demo`
# Needs root, buildah and debootstrap, and neither a registry nor a daemon. VARIANT=cuda builds the other variant.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
variant="${VARIANT:-cpu}"
base=localhost/debian:bookworm image="localhost/divspa:$variant"
export BUILDAH_ISOLATION=chroot
say() { echo "ok: $* (${SECONDS} s)" >&2; }

if ! buildah inspect "$base" > /dev/null 2>&1; then
  folder="$(mktemp --directory)"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$folder" >&2
  # What this machine trusts, the build has to trust: Python's, Rust's and Java's clients all look there.
  cp --recursive /usr/local/share/ca-certificates/. "$folder/usr/local/share/ca-certificates/"
  chroot "$folder" update-ca-certificates >&2
  empty="$(buildah from scratch)"
  buildah add --quiet "$empty" "$folder" / >&2
  buildah config --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --cmd bash "$empty"
  buildah commit --quiet --rm "$empty" "$base" >&2
  rm --recursive "$folder"
  say "Debian by debootstrap as $base"
fi

buildah build --build-arg "BASE=$base" --build-arg "VARIANT=$variant" --file "$root/docker/Dockerfile" --tag "$image" "$root" >&2
say "$image, $(buildah images --format '{{.Size}}' "$image")"

container="$(buildah from "$image")"
trap 'buildah rm "$container" > /dev/null' EXIT
[[ "$(buildah run "$container" -- id -u)" == 10001 ]]
say "it runs as the user 10001"
# A network namespace of its own holds nothing but the loopback device.
unshare --net bash -c 'ip link set lo up && exec buildah run "$@"' - "$container" -- \
  tini -- /opt/divspa/docker/entrypoint.sh demo --json "$@"
say "the demo ended without a network"
