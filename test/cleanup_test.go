package test

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
)

// sweep removes what a contain that was killed by SIGKILL has left behind: its
// cgroups and its state entry. Everything else the kernel removes.
func sweep(t *testing.T) {
	t.Helper()
	for _, dir := range cgroupDirs(t) {
		if err := cgroups.RemovePath(dir); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		os.RemoveAll(stateDir + "/" + e.Name())
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
	for name, args := range map[string][]string{
		"success":             {"--", "probe", "exit", "0"},
		"failure":             {"--", "probe", "exit", "1"},
		"death by signal":     {"--", "probe", "segv"},
		"memory":              {"-memory-limit", "16M", "--", "probe", "hog", "100" + mega},
		"children":            {"--", "probe", "forks", "20"},
		"failed start":        {"-memory-limit", "1M", "--", "probe", "exit", "0"},
		"failed state dir":    {"-state-dir", "/proc/nope", "--", "probe", "exit", "0"},
		"missing program":     {"--", "nope"},
		"unusable mountpoint": {"-chroot", "/proc", "--", "probe", "exit", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			root := rootfs(t)
			contain(t, append([]string{"-chroot", root, "-network-address", "172.17.0.99/24"}, args...)...)
		})
	}
}

func TestFailureAfterTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	// The bridge's address is the broadcast address of the program's network:
	// the kernel refuses it as a gateway. By then there is a cgroup, a state
	// entry, a veth pair and a live init.
	if err := makeBridge("br-odd", "172.19.0.255/16"); err != nil {
		t.Fatal(err)
	}
	removeBridge(t, "br-odd")
	contain(t, "-chroot", root, "-bridge", "br-odd", "-network-address", "172.19.0.9/24", "--", "probe", "exit", "0").
		wantError(t, 125, "add the default route via 172.19.0.255: invalid argument")
}
