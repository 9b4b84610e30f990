package test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// firstCPU returns a CPU that this process may run on.
func firstCPU(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	list := field(string(status), "Cpus_allowed_list")
	return list[:len(list)-len(strings.TrimLeft(list, "0123456789"))]
}

func TestCPUList(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.TrimSpace(string(online))
	cpu := firstCPU(t)
	for flag, want := range map[string]string{cpu: cpu, cpu + "," + cpu: cpu, all: all} {
		for _, name := range []string{"-cpu-core-ids", "--cpu-core-ids", "-cpu-coreids"} {
			r := contain(t, "-chroot", root, name, flag, "--", "probe", "cat", "/proc/self/status")
			if got := field(r.stdout, "Cpus_allowed_list"); got != want {
				t.Errorf("%s %s: Cpus_allowed_list %q, want %q; stderr %q", name, flag, got, want, r.stderr)
			}
		}
	}
	// The set counts, not the caller's own affinity, which is inherited if there
	// is no set.
	for flags, want := range map[string]string{"-cpu-core-ids " + all: all, "": cpu} {
		args := append([]string{"-c", cpu, containPath, "-chroot", root}, strings.Fields(flags)...)
		cmd := exec.Command("taskset", append(args, "--", "probe", "cat", "/proc/self/status")...)
		r := startCommand(t, cmd).wait(t)
		if got := field(r.stdout, "Cpus_allowed_list"); got != want {
			t.Errorf("pinned caller, flags %q: Cpus_allowed_list %q, want %q; stderr %q", flags, got, want, r.stderr)
		}
	}
}

func TestCPUsThatAreNotThere(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	contain(t, "-chroot", root, "-cpu-core-ids", "8191", "--", "probe", "exit", "0").
		wantError(t, 125, `-cpu-core-ids "8191": CPU 8191 does not exist (available: `)
	contain(t, "-chroot", root, "-cpu-core-ids", firstCPU(t)+",8190-8191", "--", "probe", "exit", "0").
		wantError(t, 125, `CPU 8190 does not exist`)
	if entries, _ := os.ReadDir(root); len(entries) != 1 {
		t.Errorf("a refused start changed the rootfs: %v", entries)
	}
}
