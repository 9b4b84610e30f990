package test

import (
	"strings"
	"testing"
)

// sweep has contain remove what a contain that was killed by SIGKILL has left behind.
func sweep(t *testing.T) {
	t.Helper()
	if r := contain(t, "gc"); r.code() != 0 || r.stderr != "" {
		t.Errorf("gc: status %d, stderr %q", r.code(), r.stderr)
	}
}

// Everything exists while the program runs, so that the tests which find
// nothing afterwards have looked in the right places.
func TestWhatExistsMeanwhile(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "--", "probe", "wait")
	p.waitLine(t, "ready")
	seen := map[string]bool{}
	for _, s := range hostState(t) {
		kind, name, _ := strings.Cut(s, " ")
		seen[kind] = seen[kind] || kind == "cgroup" || kind == "state" || kind == "process" || strings.HasPrefix(name, "ctn")
	}
	for _, kind := range []string{"link", "state", "cgroup", "process"} {
		if !seen[kind] {
			t.Errorf("no %s of the container is found while it runs", kind)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		args []string
	}{
		"success":             {0, []string{"--", "probe", "exit", "0"}},
		"failure":             {1, []string{"--", "probe", "exit", "1"}},
		"death by signal":     {139, []string{"--", "probe", "segv"}},
		"memory":              {137, []string{"-memory-limit", "16M", "--", "probe", "hog", "100" + mega}},
		"children":            {0, []string{"--", "probe", "forks", "20"}},
		"failed start":        {127, []string{"--", "/proc/nosuchprogram"}},
		"failed state dir":    {125, []string{"-state-dir", "/proc/nope", "--", "probe", "exit", "0"}},
		"missing program":     {127, []string{"--", "nope"}},
		"unusable mountpoint": {125, []string{"-chroot", "/proc", "--", "probe", "exit", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			root := rootfs(t)
			r := contain(t, append([]string{"-chroot", root, "-network-address", "172.17.0.99/24"}, c.args...)...)
			if r.code() != c.code {
				t.Errorf("status %d, stderr %q; want status %d", r.code(), r.stderr, c.code)
			}
		})
	}
}

func TestFailureAfterTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	// The bridge's address is the broadcast address of the program's network:
	// the kernel refuses it as a gateway. By then there is a cgroup, a state
	// entry, a veth pair and a live init.
	bridge(t, "br-odd", "172.19.0.255/16")
	contain(t, "-chroot", root, "-bridge", "br-odd", "-network-address", "172.19.0.9/24", "--", "probe", "exit", "0").
		wantError(t, 125, "add the default route via 172.19.0.255: invalid argument")
}
