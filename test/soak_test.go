package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A long life: many runs, one after the other, and what the kernel counts of the host
// stays where it was. In a run of 20,000 (make soak) each counter would show a leak of one in ten
// runs, in the short one of CI that of cgroups and links; what other processes of the
// host do shows too.

// counters are what a leak would show in, for the whole host.
type counters struct {
	memoryCgroups int // also those that were removed and still hold a page
	dying         int // of these; v2 only
	files         int // open
	links         int // in the tests' network namespace
	slab          int // kB that cannot be reclaimed
	dentries      int // in use
}

func readCounters(t *testing.T) (c counters) {
	t.Helper()
	numbers := func(file, prefix string, column int) int {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); strings.HasPrefix(line, prefix) && len(f) > column {
				n, _ := strconv.Atoi(f[column])
				return n
			}
		}
		return 0
	}
	c.memoryCgroups = numbers("/proc/cgroups", "memory", 2)
	c.dying = numbers(filepath.Join("/sys/fs/cgroup", "cgroup.stat"), "nr_dying_descendants", 1)
	c.files = numbers("/proc/sys/fs/file-nr", "", 0)
	c.links = len(linkList(t))
	c.slab = numbers("/proc/meminfo", "SUnreclaim:", 1)
	c.dentries = numbers("/proc/sys/fs/dentry-state", "", 0) - numbers("/proc/sys/fs/dentry-state", "", 1)
	return c
}

func (c counters) String() string {
	return fmt.Sprintf("memory cgroups %d, dying %d, open files %d, links %d, unreclaimable slab %d kB, dentries in use %d",
		c.memoryCgroups, c.dying, c.files, c.links, c.slab, c.dentries)
}

func TestLongLife(t *testing.T) {
	leavesNothing(t)
	root, runs := rootfs(t), often(200)
	if n, err := strconv.Atoi(os.Getenv("CONTAIN_TEST_RUNS")); err == nil {
		runs = n
	}
	kinds := [][]string{
		{"-memory-limit", "16M", "-cpu-core-ids", "0"},
		{"-memory-limit", "16M", "-network-address", "172.17.0.77/24"},
		{"-user", "1000"},
		{"-init=false", "-pids-limit", "10"},
	}
	run := func(i int) {
		args := append([]string{"-chroot", root}, kinds[i%len(kinds)]...)
		if r := contain(t, append(args, "--", "probe", "exit", itoa(i%256))...); r.code() != i%256 || r.stderr != "" {
			t.Errorf("run %d: status %d, stderr %q", i, r.code(), r.stderr)
		}
	}
	for i := range runs / 10 { // until what is kept for good is there
		run(i)
	}
	before := readCounters(t)
	t.Logf("after %d runs: %v", runs/10, before)
	for i := range runs {
		run(i)
		if (i+1)%max(runs/5, 1) == 0 {
			t.Logf("after %d more: %v", i+1, readCounters(t))
		}
	}
	// The last namespaces are freed by a kernel thread, cgroups after a grace period.
	waitFor(t, "the counters to be where they were", func() bool {
		now := readCounters(t)
		bound := runs/20 + 20
		return now.memoryCgroups < before.memoryCgroups+bound && now.dying < before.dying+bound && now.links <= before.links &&
			now.files < before.files+bound+1000 && now.dentries < before.dentries+bound+4000 && now.slab < before.slab+bound+8000
	})
	t.Logf("at the end: %v", readCounters(t))
}
