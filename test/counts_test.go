// A guard against slowly becoming slow: what a start costs is counted, and compared with
// counts.tsv. Unlike times, counts are the same on a busy machine; but they are those of
// one kernel, one set of cgroups and one build, so elsewhere there is nothing to compare;
// page faults not even on another processor (a fifth more of the same build).

package test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	countsFile  = "counts.tsv" // the baseline: "make counts" writes it
	countsGrown = 5            // per cent beyond it are a failure; on a busy machine they differ by 2
	faultsGrown = 25           // of page faults: copies of one binary differ by 13, as the page cache holds them
)

// byChance are the system calls whose number depends on how long others take: the Go
// runtime's waiting, its threads and their stacks, and its preempting them.
var byChance = regexp.MustCompile(`^(futex|nanosleep|clock_nanosleep|epoll_pwait|epoll_ctl|sched_yield|rt_sig\w+|sigaltstack|madvise|` +
	`mmap|munmap|mprotect|brk|tgkill|getpid|gettid|clone3|exit|set_robust_list|rseq|restart_syscall)$`)

var tracedCall = regexp.MustCompile(`^\d+ +(\w+)\(`)

// countedMachine names what the counts depend on beside contain.
func countedMachine(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	hierarchies, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("Linux %s, %s, %d CPUs, %d hierarchies of cgroups", strings.Join(release[:2], "."), runtime.GOARCH, runtime.NumCPU(),
		bytes.Count(hierarchies, []byte("\n")))
}

// countedProcessor names what page faults depend on beside that: the very kernel, and
// the processor.
func countedProcessor(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	name := "unknown" // as on arm64
	if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text); m != nil {
		name = string(m[1])
	}
	return fmt.Sprintf("Linux %s, %s", unix.ByteSliceToString(u.Release[:]), name)
}

// straced runs contain under strace and counts, in all its processes: system calls, and
// processes made.
func straced(t *testing.T, args []string) (calls, processes int) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command("strace", append([]string{"-f", "-qq", "-s", "0", "-e", "signal=none", "-o", log, containPath}, args...)...)
	startCommand(t, cmd).wait(t).want(t, 0, "")
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		m := tracedCall.FindStringSubmatch(lines.Text())
		// What is not one is the rest of one, or an end. The kernel repeats what cannot be
		// done while another changes the network (addrconf_disable_ipv6 for one).
		if m == nil || strings.Contains(lines.Text(), "ERESTART") {
			continue
		}
		makes := strings.HasPrefix(m[1], "clone") || strings.HasSuffix(m[1], "fork")
		if makes && !strings.Contains(lines.Text(), "CLONE_THREAD") {
			processes++
		}
		if !byChance.MatchString(m[1]) {
			calls++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls, processes
}

// faults returns how many page faults a run of contain has, with all processes that
// were waited for.
func faults(t *testing.T, args []string) int {
	t.Helper()
	p := start(t, args...)
	p.wait(t).want(t, 0, "")
	return int(p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Minflt)
}

// counted is what is counted of the two kinds of start: the least of several runs, of page
// faults, some of which others save or cause, the median.
func counted(t *testing.T) map[string]int {
	t.Helper()
	const traces, runs = 5, 25
	info, err := os.Stat(containPath)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{"size of the binary": int(info.Size())}
	plain := []string{"-chroot", rootfs(t), "-memory-limit", "128M", "-cpu-core-ids", firstCPU(t)}
	for kind, more := range map[string][]string{"loopback": nil, "veth": {"-network-address", "172.17.0.77/24"}} {
		args := slices.Concat(plain, more, []string{"--", "probe", "exit", "0"})
		var calls, processes, minor []int
		for range traces {
			c, p := straced(t, args)
			calls, processes = append(calls, c), append(processes, p)
		}
		for range runs {
			minor = append(minor, faults(t, args))
		}
		t.Log(kind, calls, processes, minor)
		found[kind+": system calls"] = slices.Min(calls)
		found[kind+": processes"] = slices.Min(processes)
		slices.Sort(minor)
		found[kind+": page faults"] = minor[runs/2]
	}
	return found
}

// TestCounts fails when a start costs more than the baseline says. With CONTAIN_COUNTS
// set it writes that.
func TestCounts(t *testing.T) {
	write, machine := os.Getenv("CONTAIN_COUNTS") != "", countedMachine(t)
	text, err := os.ReadFile(countsFile)
	if err != nil && !write {
		t.Fatal(err)
	}
	baseline := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		baseline[name] = value
	}
	switch {
	case os.Getenv("CONTAIN") == "":
		t.Skip("the counts are those of the binary that make builds")
	case !write && machine != baseline["machine"]:
		t.Skipf("the counts are for %s; this is %s", baseline["machine"], machine)
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal(err)
	}
	leavesNothing(t)
	found := counted(t)
	if write {
		writeCounts(t, machine, found)
		return
	}
	processor := countedProcessor(t)
	for name, value := range found {
		if strings.HasSuffix(name, "page faults") && processor != baseline["page faults on"] {
			t.Logf("%s: %d, not compared: the baseline is for %s", name, value, baseline["page faults on"])
			continue
		}
		grown := countsGrown
		if strings.HasSuffix(name, "page faults") {
			grown = faultsGrown
		}
		was, err := strconv.Atoi(baseline[name])
		if err != nil {
			t.Errorf("%s: %d; the baseline says %q", name, value, baseline[name])
		} else if most := was + was*grown/100; value > most {
			t.Errorf("%s: %d, %.1f %% more than %d; if it must be, \"make counts\" in the same commit", name, value, 100*float64(value-was)/float64(was), was)
		} else if value < was-was*grown/100 {
			t.Logf("%s: %d, down from %d: \"make counts\" keeps it there", name, value, was)
		}
	}
}

func writeCounts(t *testing.T, machine string, found map[string]int) {
	t.Helper()
	text := "machine\t" + machine + "\npage faults on\t" + countedProcessor(t) + "\n"
	for _, name := range slices.Sorted(maps.Keys(found)) {
		text += fmt.Sprintf("%s\t%d\n", name, found[name])
	}
	if err := os.WriteFile(countsFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
