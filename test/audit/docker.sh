#!/bin/sh
# docker.sh RUNC AUDIT: print what the audit probe finds under Docker's defaults, see
# main.go, in a container of runc. Neither dockerd nor an image is needed. Not there:
# the files of /etc that Docker mounts, and AppArmor.
set -eu
runc=$1 audit=$2
here=$(cd "$(dirname "$0")" && pwd)
name=contain-audit-$$
work=$(mktemp -d)
# shellcheck disable=SC2317 # it is called by trap
cleanup() {
	timeout 20 "$runc" --root "$work/state" delete -f "$name" 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

mkdir -p "$work/rootfs/bin" "$work/rootfs/tmp" "$work/rootfs/nodes"
cp "$audit" "$work/rootfs/bin/audit"
"$here/nodes" "$work/rootfs/nodes"
# shellcheck disable=SC2046 # the links have no spaces
(cd "$here" && go run . "$work" "$name" "host=$(uname -n)" $(readlink /proc/self/ns/*))
timeout 100 "$runc" --root "$work/state" run --bundle "$work" "$name" </dev/null >"$work/found"
# The C library for filters does not know the newest calls that the profile names.
awk -F '\t' -v OFS='\t' 'NR == FNR { allowed[$1]; next }
	$1 == "call" && $2 in allowed && $3 == "ENOSYS" { $3 = "allowed" } { print }' "$work/allowed" "$work/found"
