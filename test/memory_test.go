package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/opencontainers/cgroups"
)

const mega = "000000"

func TestMemoryLimitKills(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, verb := range []string{"hog", "childhog"} {
		r := contain(t, "-chroot", root, "-memory-limit", "64M", "--", "probe", verb, "200"+mega)
		r.wantError(t, 137, "memory limit of 64MiB exceeded, killed (peak 64MiB)")
		if !r.status.Signaled() || regexp.MustCompile("touched|survived").MatchString(r.stdout) {
			t.Errorf("%s: wait status %#x, stdout %q", verb, r.status, r.stdout)
		}
	}
	// /dev/shm is smaller than the limit in this one; its pages count too.
	contain(t, "-chroot", root, "-memory-limit", "32M", "--", "probe", "shmhog", "60"+mega).
		wantError(t, 137, "memory limit of 32MiB exceeded")
}

func TestMemoryBelowTheLimitIsFine(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, limit := range []string{"64M", "64m", "64MB", "64MiB", "67108864"} {
		contain(t, "-chroot", root, "--memory-limit", limit, "--", "probe", "hog", "32"+mega).want(t, 0, "touched\n")
	}
	contain(t, "-chroot", root, "--", "probe", "hog", "200"+mega).want(t, 0, "touched\n")
}

func TestMemoryLimitTooSmallToStart(t *testing.T) {
	leavesNothing(t)
	contain(t, "-chroot", rootfs(t), "-memory-limit", "1023K", "--", "probe", "exit", "0").wantError(t, 125, `-memory-limit "1023KiB": too small`)
}

// The problem statement's own example has this limit.
func TestMemoryLimitOfOneMegabyte(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for range 20 {
		contain(t, "chroot", root, "--memory-limit", "1MB", "--", "probe", "exit", "7").want(t, 7, "")
	}
	contain(t, "chroot", root, "--memory-limit", "1MB", "--", "probe", "hog", "2"+mega).
		wantError(t, 137, "memory limit of 1MiB exceeded, killed")
}

// A kill for the limit of a cgroup around contain's is told as what it is.
func TestKillForALimitAround(t *testing.T) {
	if underSystemd() {
		t.Skip("needs cgroups that are the tests' own")
	}
	leavesNothing(t)
	own, err := cgroups.GetOwnCgroupPath("memory")
	box, caller, limit := filepath.Join(own, "box"), "box", "memory.limit_in_bytes"
	if unified() {
		own, err = filepath.Dir(ownCgroup2(t)), nil
		box, caller, limit = filepath.Join(own, "box"), "box/caller", "memory.max"
	}
	if err != nil {
		t.Fatal(err)
	}
	caller = filepath.Join(own, caller)
	if err := os.MkdirAll(caller, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cgroups.RemovePath(box); err != nil {
			t.Error(err)
		}
	})
	if err := cgroups.WriteFile(box, limit, "60"+mega); err != nil {
		t.Fatal(err)
	}
	if unified() {
		if err := cgroups.WriteFile(box, "cgroup.subtree_control", "+memory +pids"); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", `echo 0 > "$0"/cgroup.procs && exec "$@"`, caller,
		containPath, "-chroot", rootfs(t), "-memory-limit", "1G", "--", "probe", "hog", "200"+mega)
	startCommand(t, cmd).wait(t).wantError(t, 137, "not for this -memory-limit")
}
