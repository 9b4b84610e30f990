package test

import "testing"

func TestSystemCallsThatAreRefused(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, init := range []string{"-init=true", "-init=false"} {
		for call, want := range map[string]string{
			"unshare-user": "Operation not permitted", "clone-user": "Operation not permitted", "clone3": "Function not implemented",
			"keyctl": "Operation not permitted", "add_key": "Operation not permitted",
			"packet": "Address family not supported by protocol", "vsock": "Address family not supported by protocol",
			"old-packet": "Address family not supported by protocol", "xdp": "Address family not supported by protocol",
			"trace-exit": "Operation not permitted", "perf": "Operation not permitted",
			"userfaultfd": "Operation not permitted", "io_uring": "Operation not permitted",
		} {
			r := contain(t, "-chroot", root, init, "--", "probe", "call", call)
			if r.stdout != "refused: "+want+"\n" {
				t.Errorf("%s %s: %q, want it refused: %s", init, call, r.stdout, want)
			}
		}
		for _, call := range []string{"icmp", "trace", "netlink"} {
			contain(t, "-chroot", root, init, "--", "probe", "call", call).want(t, 0, "allowed\n")
		}
		pin := map[string]string{"-init=true": "refused: Operation not permitted\n", "-init=false": "allowed\n"}[init]
		if r := contain(t, "-chroot", root, init, "--", "probe", "call", "pin-1"); r.stdout != pin {
			t.Errorf("%s: CPU affinity of PID 1: %q", init, r.stdout)
		}
		contain(t, "-chroot", root, init, "--", "probe", "call", "core").want(t, 0, "1 1\n")
	}
}
