#!/bin/sh
# unshare.sh PROGRAM [ARGUMENT...]: the job with what util-linux and iproute2 have.
# shellcheck source=test/bench/jobs/by-hand.sh
. "$JOBS/by-hand.sh"
make_cgroup
make_netns
status=0
(
	enter_cgroup
	set -- unshare --mount --uts --ipc --pid --cgroup --fork --kill-child --root "$ROOT" --mount-proc "$@"
	# shellcheck disable=SC2086 # words of a command
	[ -z "$enter" ] || exec $enter "$@"
	exec unshare --net -- sh -c 'ip link set lo up && exec "$@"' sh "$@"
) || status=$?
remove_netns
remove_cgroup
exit "$status"
