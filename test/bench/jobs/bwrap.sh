#!/bin/sh
# bwrap.sh PROGRAM [ARGUMENT...]: the job with bubblewrap.
# shellcheck source=test/bench/jobs/by-hand.sh
. "$JOBS/by-hand.sh"
make_cgroup
make_netns
status=0
net=net
[ -z "$enter" ] || net=
(
	enter_cgroup
	# shellcheck disable=SC2086 # words of a command
	exec $enter bwrap --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup ${net:+--unshare-net} --die-with-parent --hostname "$NAME" \
		--bind "$ROOT" / --proc /proc --dev /dev -- "$@"
) || status=$?
remove_netns
remove_cgroup
exit "$status"
