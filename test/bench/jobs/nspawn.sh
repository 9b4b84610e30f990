#!/bin/sh
# nspawn.sh PROGRAM [ARGUMENT...]: the job with systemd-nspawn, without systemd.
# shellcheck source=test/bench/jobs/by-hand.sh
. "$JOBS/by-hand.sh"
make_cgroup
make_netns
status=0
if [ -n "$enter" ]; then
	net=--network-namespace-path=/run/netns/$NAME
else
	net=--private-network
fi
(
	enter_cgroup
	exec systemd-nspawn --quiet --register=no --keep-unit --read-only --machine="$NAME" --directory="$ROOT" "$net" -- "$@"
) || status=$?
remove_netns
remove_cgroup
exit "$status"
