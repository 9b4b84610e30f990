package test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runReport is what -report writes, contain(8).
type runReport struct {
	Schema    int               `json:"schema"`
	Version   string            `json:"contain"`
	ID        *string           `json:"id"`
	Stage     string            `json:"stage"`
	Cause     string            `json:"cause"`
	Status    int               `json:"status"`
	Exit      *int              `json:"exit"`
	Signal    *int              `json:"signal"`
	Killed    *bool             `json:"killed"`
	Error     *string           `json:"error"`
	Wall      *float64          `json:"wall_us"`
	User      *float64          `json:"user_us"`
	System    *float64          `json:"system_us"`
	Throttled *float64          `json:"throttled_us"`
	Memory    *float64          `json:"memory_peak_bytes"`
	Swap      *float64          `json:"swap_peak_bytes"`
	Both      *float64          `json:"memory_and_swap_peak_bytes"`
	OOMKills  *float64          `json:"oom_kills"`
	Tasks     *float64          `json:"tasks_peak"`
	IO        *ioUse            `json:"io"`
	Network   *networkUse       `json:"network"`
	Limits    map[string]any    `json:"limits"`
	Applied   map[string]string `json:"limits_applied"`
	Found     map[string]string `json:"limits_found"`
}

type ioUse struct {
	ReadBytes  float64 `json:"read_bytes"`
	WriteBytes float64 `json:"write_bytes"`
	Reads      float64 `json:"reads"`
	Writes     float64 `json:"writes"`
}

type networkUse struct {
	Received        float64 `json:"received_bytes"`
	Sent            float64 `json:"sent_bytes"`
	ReceivedPackets float64 `json:"received_packets"`
	SentPackets     float64 `json:"sent_packets"`
}

// cpu is the CPU time used, in seconds.
func (r runReport) cpu() float64 { return (value(r.User) + value(r.System)) / 1e6 }

// wall is the time from the program's start to its end, in seconds.
func (r runReport) wall() float64 { return value(r.Wall) / 1e6 }

// value is what p points to, or not a number: no comparison with that holds.
func value(p *float64) float64 {
	if p == nil {
		return math.NaN()
	}
	return *p
}

// parseReport reads a report: one line, no member more or less than documented.
func parseReport(t *testing.T, text []byte) (r runReport) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || bytes.IndexByte(text, '\n') != len(text)-1 || r.Schema != 1 {
		t.Fatalf("the report %q: %v", text, err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil || len(members) != 24 {
		t.Errorf("the report has %d members, want 24: %s", len(members), text)
	}
	return r
}

// reporting is a contain that runs with -report FILE.
type reporting struct {
	*process
	file string
}

func startReporting(t *testing.T, args ...string) reporting {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report")
	return reporting{start(t, append([]string{"-report", file}, args...)...), file}
}

func (p reporting) end(t *testing.T) (result, runReport) {
	t.Helper()
	r := p.wait(t)
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	return r, parseReport(t, text)
}

// endWithin is end, but kills the program if it runs for longer, which fails the test.
func (p reporting) endWithin(t *testing.T, most float64) (result, runReport) {
	t.Helper()
	timer := time.AfterFunc(time.Duration(most*float64(time.Second)), func() {
		t.Errorf("the program ran for more than %v s", most)
		killPrograms(t)
	})
	defer timer.Stop()
	return p.end(t)
}

// reported runs contain with -report to its end.
func reported(t *testing.T, args ...string) (result, runReport) {
	t.Helper()
	return startReporting(t, args...).end(t)
}

// anyEnd is an exit status or a signal that is not looked at; -1 is none.
const anyEnd = -2

// wantEnd fails the test unless the report tells of that end. Of exit and signal,
// one is given, or with -1 none.
func (r runReport) wantEnd(t *testing.T, stage, cause string, status, exit, signal int) {
	t.Helper()
	number := func(p *int) int {
		if p == nil {
			return -1
		}
		return *p
	}
	other := func(p *int, want int) bool { return want != anyEnd && number(p) != want }
	if r.Stage != stage || r.Cause != cause || r.Status != status || other(r.Exit, exit) || other(r.Signal, signal) {
		t.Errorf("the report says %s, %s, status %d, exit %d, signal %d; want %s, %s, %d, %d, %d",
			r.Stage, r.Cause, r.Status, number(r.Exit), number(r.Signal), stage, cause, status, exit, signal)
	}
}

// near fails the test unless got differs from want by no more than a part of it.
func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	t.Logf("%s: %.6g, want %.6g, %+.2f %%", what, got, want, 100*(got/want-1))
	if !(math.Abs(got-want) <= part*want) {
		t.Errorf("%s is %.6g, want %.6g within %g %%", what, got, want, 100*part)
	}
}

// loose is a bound, or with -short, for slow machines, another.
func loose[T any](bound, slow T) T {
	if testing.Short() {
		return slow
	}
	return bound
}

// However a run ends, the report is written and says how.
func TestReportOfEachEnd(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct {
		args         []string
		stage, cause string
		status       int
		exit, signal int
	}{
		{[]string{"-nope"}, "usage", "contain", 125, -1, -1},
		{[]string{"-chroot", root}, "usage", "contain", 125, -1, -1},
		{[]string{"-chroot", root, "-pids-limit", "0", "probe"}, "usage", "contain", 125, -1, -1},
		{[]string{"-chroot", root, "-bridge", "absent0", "-network-address", "172.17.0.99/24", "probe"}, "check", "contain", 125, -1, -1},
		{[]string{"-chroot", "/nosuch", "probe"}, "check", "contain", 125, -1, -1},
		{[]string{"-chroot", root, "/bin"}, "check", "contain", 126, -1, -1},
		{[]string{"-chroot", root, "nope"}, "check", "contain", 127, -1, -1},
		{[]string{"-chroot", root, "/proc/version"}, "exec", "contain", 126, -1, -1},
		{[]string{"-chroot", root, "-init=false", "/proc/version"}, "exec", "contain", 126, -1, -1},
		{[]string{"-chroot", root, "/proc/nosuchprogram"}, "exec", "contain", 127, -1, -1},
		{[]string{"-chroot", root, "probe", "exit", "0"}, "run", "exited", 0, 0, -1},
		{[]string{"-chroot", root, "probe", "exit", "125"}, "run", "exited", 125, 125, -1},
		{[]string{"-chroot", root, "-init=false", "probe", "exit", "42"}, "run", "exited", 42, 42, -1},
		{[]string{"-chroot", root, "probe", "segv"}, "run", "signal", 139, -1, 11},
		{[]string{"-chroot", root, "-memory-limit", "64M", "probe", "raise", "9"}, "run", "signal", 137, -1, 9},
		{[]string{"-chroot", root, "-memory-limit", "16M", "probe", "hog", "40" + mega}, "run", "oom", 137, -1, 9},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r, rep := reported(t, c.args...)
			rep.wantEnd(t, c.stage, c.cause, c.status, c.exit, c.signal)
			line, _, _ := strings.Cut(r.stderr, "\n")
			if line == "" && rep.Error != nil || line != "" && (rep.Error == nil || line != "contain: "+*rep.Error) {
				t.Errorf("stderr is %q, the report's error %v", r.stderr, rep.Error)
			}
			if ran := c.stage == "run"; r.code() != c.status || (rep.Wall != nil) != ran || (rep.User != nil) != ran || (rep.IO != nil) != ran || rep.Network != nil {
				t.Errorf("status %d, report %+v", r.code(), rep)
			}
		})
	}
}

// A signal that ends contain before the program has started is told as such.
func TestReportOfASignalBeforeTheStart(t *testing.T) {
	leavesNothing(t)
	root, file := rootfs(t), filepath.Join(t.TempDir(), "report")
	cmd := exec.Command(probePath, "pend", "10", containPath, "-report", file, "-chroot", root, "--", "probe", "wait")
	r := startCommand(t, cmd).wait(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rep := parseReport(t, text)
	rep.wantEnd(t, "setup", "signal", 138, -1, 10)
	if r.status != syscall.WaitStatus(syscall.SIGUSR1) || rep.Wall != nil {
		t.Errorf("wait status %#x, report %s", r.status, text)
	}
}

// With fd:N the caller reads the report from a pipe, and the program does not get N.
func TestReportToADescriptor(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, verb := range []string{"fds", "nulls"} {
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command(containPath, "-report", "fd:3", "-chroot", root, "--", "probe", verb)
		cmd.ExtraFiles = []*os.File{in}
		p := startCommand(t, cmd)
		in.Close()
		r := p.wait(t)
		text := make([]byte, 1<<16)
		n, err := out.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		rep := parseReport(t, text[:n])
		rep.wantEnd(t, "run", "exited", r.code(), r.code(), -1)
		if strings.Contains(r.stdout, "\n3 ") || r.code()&8 != 0 {
			t.Errorf("%s: status %d, descriptors:\n%s", verb, r.code(), r.stdout)
		}
	}
	contain(t, "-report", "fd:9", "-chroot", root, "--", "probe", "exit", "0").wantError(t, 125, `-report "fd:9": bad file descriptor`)
	contain(t, "-report", "/nosuch/file", "-chroot", root, "--", "probe", "exit", "0").wantError(t, 125, `-report "/nosuch/file": no such file`)
	cmd := exec.Command(containPath, "-report", "fd:1", "-chroot", root, "--", "probe", "exit", "7")
	parseReport(t, []byte(startCommand(t, cmd).wait(t).stdout)).wantEnd(t, "run", "exited", 7, 7, -1)
}

// CPU time and memory of all processes count, ended ones and daemons too.
func TestReportOfWhatWasUsed(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	daemon := []string{"probe", "daemon", "0", "/bin/probe"}
	for name, program := range map[string][]string{"itself": {"probe"}, "a daemon": daemon} {
		args := []string{"-chroot", root, "-memory-limit", "1G", "--"}
		args = append(args, program...)
		_, rep := reported(t, append(args, "spend", "600")...)
		near(t, "CPU time of "+name, rep.cpu(), 0.6, loose(0.05, 0.4))
		_, rep = reported(t, append(args, "hog", "100"+mega)...)
		near(t, "memory peak of "+name, value(rep.Memory), 100e6, 0.05)
	}
	_, rep := reported(t, "-chroot", root, "--", "probe", "repeat", "4", "/bin/probe", "spend", "150")
	near(t, "CPU time of four children", rep.cpu(), 0.6, loose(0.1, 0.6))
}

// The number of tasks is exact: the init does not count, threads do.
func TestReportOfTasks(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for verb, want := range map[string]float64{"exit 0": 1, "forks 5": 6, "threads 7": 8} {
		args := append([]string{"-chroot", root, "--", "probe"}, strings.Fields(verb)...)
		if _, rep := reported(t, args...); value(rep.Tasks) != want {
			t.Errorf("%s: tasks_peak %v, want %v", verb, value(rep.Tasks), want)
		}
	}
}

// What a kernel does not tell is null, and not 0.
func TestReportOfWhatTheKernelLacks(t *testing.T) {
	leavesNothing(t)
	_, rep := reported(t, "-chroot", rootfs(t), "-memory-limit", "64M", "-network-address", "172.17.0.99/24", "--", "probe", "exit", "0")
	if rep.Throttled == nil || rep.OOMKills == nil || rep.Network == nil || rep.ID == nil {
		t.Errorf("null is what every kernel tells: %+v", rep)
	}
	if unified() && rep.Both != nil || !unified() && rep.Swap != nil {
		t.Errorf("swap peak %v, of both %v", value(rep.Swap), value(rep.Both))
	}
	for member, file := range map[*float64]string{rep.Memory: "memory.peak", rep.Swap: "memory.swap.peak", rep.Tasks: "pids.peak"} {
		if unified() && (member != nil) != cgroupFile(t, file) {
			t.Errorf("%s: the report has %v, the kernel: %v", file, value(member), cgroupFile(t, file))
		}
	}
}

// cgroupFile tells whether the tests' own cgroup has a file, on v2.
func cgroupFile(t *testing.T, name string) bool {
	_, err := os.Stat(filepath.Join(ownCgroup2(t), name))
	return err == nil
}

// The limits are there as they were asked for, and as the kernel has them.
func TestReportOfLimits(t *testing.T) {
	leavesNothing(t)
	_, rep := reported(t, "-chroot", rootfs(t), "-memory-limit", "64M", "-memory-soft-limit", "32M", "-cpu-core-ids", firstCPU(t),
		"-cpus", "0.5", "-cpu-weight", "50", "-pids-limit", "20", "-ulimit", "nofile=64:128", "-virtual-memory-limit", "1G", "-timeout", "60s",
		"-cpu-time", "50s", "-grace", "2s", "-network-address", "172.17.0.99/24", "-network-bandwidth", "10mbit/down", "--", "probe", "exit", "0")
	got, err := json.Marshal(rep.Limits)
	want := `{"cpu_core_ids":"` + firstCPU(t) + `","cpu_time_us":50000000,"cpu_weight":50,"cpus":0.5,"grace_us":2000000,"io_max":[],` +
		`"memory_bytes":67108864,"memory_soft_bytes":33554432,"network_bandwidth":{"down_bits_per_second":10000000,"up_bits_per_second":null},` +
		`"pids":20,"timeout_us":60000000,"ulimits":{"as":"1073741824:1073741824","nofile":"64:128"}}`
	if err != nil || string(got) != want {
		t.Errorf("limits\n%s, want\n%s", got, want)
	}
	files := map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "memory.high": "33554432", "memory.oom.group": "1",
		"cpuset.cpus": firstCPU(t), "cpu.max": "50000 100000", "cpu.weight": "50", "pids.max": "20"}
	if !unified() {
		files = map[string]string{"memory.limit_in_bytes": "67108864", "memory.soft_limit_in_bytes": "33554432",
			"cpuset.cpus": firstCPU(t), "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000", "cpu.shares": "512", "pids.max": "20"}
	}
	for file, want := range files {
		if rep.Applied[file] != want || rep.Found[file] != want {
			t.Errorf("%s: applied %q, found %q, want %q", file, rep.Applied[file], rep.Found[file], want)
		}
	}
	if _, rep := reported(t, "-chroot", rootfs(t), "--", "probe", "exit", "0"); rep.Applied["pids.max"] != "4096" {
		t.Errorf("without a limit pids.max is %q, want 4096", rep.Applied["pids.max"])
	}
}
