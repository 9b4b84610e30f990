#!/bin/sh
# oci-ip.sh RUNTIME PROGRAM...: a bundle whose netns this script makes, as most write it.
# The program is in the bundle already.
set -eu
runtime=$1
ip netns add "$NAME"
ip link add "h$NAME" type veth peer name eth0 netns "$NAME"
ip link set "h$NAME" master "$BRIDGE" up
ip -n "$NAME" link set lo up
ip -n "$NAME" address add "$ADDRESS" dev eth0
ip -n "$NAME" link set eth0 up
ip -n "$NAME" route add default via "$GATEWAY"
status=0
"$runtime" run --bundle "$DIR" "$NAME" || status=$?
ip netns delete "$NAME"
exit "$status"
