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
		for _, call := range []string{"icmp", "trace", "netlink", "nice"} {
			contain(t, "-chroot", root, init, "--", "probe", "call", call).want(t, 0, "allowed\n")
		}
		if r := contain(t, "-chroot", root, init, "--", "probe", "call", "usersock"); r.stdout != "refused: Protocol not supported\n" {
			t.Errorf("%s: a netlink socket between programs: %q", init, r.stdout)
		}
		pin := map[string]string{"-init=true": "refused: Operation not permitted\n", "-init=false": "allowed\n"}[init]
		for _, call := range []string{"pin-1", "idle-1", "nice-1", "nice-user", "limit-1", "queue-1"} {
			if r := contain(t, "-chroot", root, init, "--", "probe", "call", call); r.stdout != pin {
				t.Errorf("%s: %s: %q", init, call, r.stdout)
			}
		}
		contain(t, "-chroot", root, init, "--", "probe", "call", "core").want(t, 0, "1 1\n")
	}
}
