#!/bin/sh
# oci-hook.sh: a createRuntime hook: the container's veth. Its state comes on stdin.
set -eu
pid=
while read -r line || [ -n "$line" ]; do
	case $line in
	*'"pid"'*)
		pid=${line#*\"pid\":}
		pid=${pid# }
		pid=${pid%%[!0-9]*}
		;;
	esac
done
ip -batch - <<-END
	link add h$NAME up master $BRIDGE type veth peer name eth0 netns $pid
END
nsenter -t "$pid" -n ip -batch - <<-END
	link set lo up
	address add $ADDRESS dev eth0
	link set eth0 up
	route add default via $GATEWAY
END
