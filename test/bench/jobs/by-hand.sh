# by-hand.sh: what tools without it leave to their caller: cgroup and network. Read by
# the scripts beside it, which get by the environment
#
#   NAME             of the run, its cgroup, its netns; with an h before it of its veth
#   CPUS, BYTES      the limits
#   CGROUPS          CONTROLLER=DIR ...: where cgroups are to be made
#   ADDRESS          with prefix length; empty: loopback only
#   GATEWAY, BRIDGE  for that
#   ROOT, DIR        the program's root; a directory for this run
# shellcheck shell=sh
set -eu
: "$NAME" "$CPUS" "$BYTES" "$CGROUPS" "$GATEWAY" "$BRIDGE" "$ROOT" "$DIR"

# make_cgroup makes the cgroup with its limits, and sets dirs to where it is.
make_cgroup() {
	dirs=
	for cgroup in $CGROUPS; do
		case $cgroup in cpuset=* | memory=* | unified=*) dirs="$dirs ${cgroup#*=}/$NAME" ;; esac
	done
	# shellcheck disable=SC2086 # one word is one directory
	mkdir $dirs
	for cgroup in $CGROUPS; do
		dir=${cgroup#*=}/$NAME
		case $cgroup in
		cpuset=*)
			echo "$CPUS" >"$dir/cpuset.cpus"
			echo 0 >"$dir/cpuset.mems"
			;;
		memory=*) echo "$BYTES" >"$dir/memory.limit_in_bytes" ;;
		unified=*)
			echo "$CPUS" >"$dir/cpuset.cpus"
			echo "$BYTES" >"$dir/memory.max"
			;;
		esac
	done
}

# enter_cgroup moves the shell that calls it, and what that becomes, into the cgroup.
enter_cgroup() {
	for dir in $dirs; do
		echo 0 >"$dir/cgroup.procs"
	done
}

# remove_cgroup removes it. The kernel may still be ending what was in it.
remove_cgroup() {
	# shellcheck disable=SC2086 # one word is one directory
	until rmdir $dirs 2>/dev/null; do
		left=
		for dir in $dirs; do
			[ ! -d "$dir" ] || left="$left $dir"
		done
		dirs=$left
		[ -n "$dirs" ] || break
	done
}

# make_netns makes the netns, if the job has a network, and sets enter to what runs a
# command in it.
# shellcheck disable=SC2034 # enter is for the scripts beside this one
make_netns() {
	enter=
	[ -n "$ADDRESS" ] || return 0
	enter="ip netns exec $NAME"
	ip netns add "$NAME"
	ip -batch - <<-END
		link add h$NAME up master $BRIDGE type veth peer name eth0 netns $NAME
	END
	ip -n "$NAME" -batch - <<-END
		link set lo up
		address add $ADDRESS dev eth0
		link set eth0 up
		route add default via $GATEWAY
	END
}

remove_netns() {
	[ -z "$ADDRESS" ] || ip netns delete "$NAME"
}
