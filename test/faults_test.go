package test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Every system call that contain, libcontainer's init and pid1 make for a full start and
// for its end fails once, for every reason there may be. Then contain refuses, or does
// without; the program gets what it gets else, or nothing; contain does not hang, panic or
// die, and leaves nothing. See the tracer (tracer_test.go) for what is left out.

// faultErrnos are the reasons.
var faultErrnos = []unix.Errno{unix.ENOMEM, unix.EIO, unix.ENOSPC, unix.EMFILE, unix.EPERM, unix.EBUSY, unix.ENOSYS}

// faultTime is how long a run may take, if one without a fault takes that long.
func faultTime(usual time.Duration) time.Duration { return max(patience/2, 4*usual) }

// faultsTime is about how long the sample may take: tracing costs an emulated machine more
// than most.
const faultsTime = time.Minute

// faultStatus is that of the program, which no failure has.
const faultStatus = 77

// faultArgs is a run that uses most of contain: its program says what it was given.
func faultArgs(root string) []string {
	return []string{"-chroot", root, "-memory-limit", "64M", "-cpu-core-ids", "0", "-bridge", bridgeName, "-network-address", "172.17.0.98/24",
		"--", "probe", "given", strconv.Itoa(faultStatus), "/proc/self/status", "/proc/self/mountinfo", "/proc/self/limits", "/proc/self/cgroup",
		"/proc/self/oom_score_adj", "/proc/self/timens_offsets", "/proc/net/route", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"}
}

// faultJob is one run: which call fails, and why.
type faultJob struct {
	Call  call
	Errno unix.Errno
}

// How a run may end.
const (
	notReached  = "the call was not made"
	refused     = "125"
	notExecuted = "126 or 127"
	survived    = "survived"
	saidSo      = "the program's status, and a line"
	refusedLate = "125 after the program's start"
	misbehaved  = "MISBEHAVED"
)

// kindOfCall is a system call in a role.
type kindOfCall struct {
	role string
	nr   uint64
}

// faultExceptions are calls that do not fail so in a kernel, and whose failure contain
// could do nothing about. Their arguments match.
var faultExceptions = []struct {
	role      string // begins so
	nr        uint64
	arguments string // regular expression
	why       string
}{
	{roleContain, unix.SYS_READ, `^\d+<pipe:\S+, \w+, 0x8,`,
		"Go takes the exec of a process for failed, and waits for its end (syscall.forkExec)"},
	{roleContain, unix.SYS_GETPGID, "", "an ancestor that cannot be looked at is none: the program gets a session of its own"},
	{roleContain, unix.SYS_GETSID, "", "an ancestor that cannot be looked at is none: the program gets a session of its own"},
	{roleContain, unix.SYS_OPENAT, `"/proc/\d+/stat"`, "an ancestor that cannot be looked at is none: the program gets a session of its own"},
	{roleContain, unix.SYS_READ, `^\d+</proc/\d+/stat>`, "an ancestor that cannot be looked at is none: the program gets a session of its own"},
	{roleContain, unix.SYS_FCNTL, `^\d+</memfd:contain-rest \(deleted\)>, 0x40a,`, "one that was executed to rest must not start the program again"},
	{"", unix.SYS_PRLIMIT64, `^\S+, 0x8,`, "a library has lowered this limit for a moment, and can lift it again (ebpf/rlimit)"},
}

// expected says why a run may misbehave, or "".
func (j faultJob) expected(r faultResult) string {
	for _, e := range faultExceptions {
		if strings.HasPrefix(j.Call.Role, e.role) && j.Call.Nr == e.nr && regexp.MustCompile(e.arguments).MatchString(r.Call) {
			return e.why
		}
	}
	return ""
}

// faultResult is what came of it.
type faultResult struct {
	Outcome string
	Problem string   // if it misbehaved
	Call    string   // its arguments
	Stderr  string   // contain's
	Left    []string // on the host
	Gone    bool     // that, after another run
}

// TestFaults tries some of them: of each process and system call about as many. With
// CONTAIN_TEST_FAULTS=1, 2... it tries others; with "all", all, or CONTAIN_TEST_FAULTS_MOST
// of them: of each call one first, then of each another; with "contain: read 7, EIO" that.
func TestFaults(t *testing.T) {
	how := os.Getenv("CONTAIN_TEST_FAULTS")
	if how == "worker" {
		workOnFaults(t)
		return
	}
	jobs := chosenFaults(t, how)
	report := &faultReport{names: callNames(t), outcomes: map[string]int{}, left: map[string]int{}}
	var all []*faultWorker
	for range runtime.NumCPU() {
		all = append(all, newFaultWorker(t))
	}
	workers(len(all), len(jobs), func(worker, i int) { report.add(t, jobs[i], all[worker].do(jobs[i])) })
	t.Logf("%d runs ended so:\n%s", len(jobs), report)
}

// faultName is a fault as the test names it.
var faultName = regexp.MustCompile(`^(.+): (\w+) (\d+), (\w+)$`)

// chosenFaults are those that TestFaults is to try.
func chosenFaults(t *testing.T, how string) (jobs []faultJob) {
	if f := faultName.FindStringSubmatch(how); f != nil {
		nth, _ := strconv.Atoi(f[3])
		for nr, name := range callNames(t) {
			for _, errno := range faultErrnos {
				if name == f[2] && unix.ErrnoName(errno) == f[4] {
					jobs = append(jobs, faultJob{call{f[1], nr, nth}, errno})
				}
			}
		}
		return jobs
	}
	calls, usual := faultCalls(t)
	jobs = faultJobs(calls)
	t.Logf("%d calls, %d faults", len(calls), len(jobs))
	if how == "all" {
		most, err := strconv.Atoi(os.Getenv("CONTAIN_TEST_FAULTS_MOST"))
		if err != nil {
			most = len(jobs)
		}
		return jobs[:min(most, len(jobs))]
	}
	offset, _ := strconv.Atoi(how)
	n := min(often(350), int(faultsTime*time.Duration(runtime.NumCPU())/usual))
	return sampleOf(jobs, max(n, 10), offset)
}

// faultCalls are the calls that each run without faults makes, in the order of the roles,
// the system calls and their numbers; and how long it takes.
func faultCalls(t *testing.T) (calls []call, usual time.Duration) {
	root := rootfs(t)
	times, seen := often(20)/10+1, map[call]int{}
	for range times { // the runtime makes some or not, and who waits asks more or less often
		began := time.Now()
		tr := runTraced(t, root, nil, 2*patience)
		usual = max(usual, time.Since(began))
		if tr.hung != "" || tr.status.ExitStatus() != faultStatus {
			t.Fatalf("traced, contain ended with status %d, and left %s", tr.status, tr.hung)
		}
		for _, c := range tr.seen {
			seen[c]++
		}
	}
	for c, n := range seen {
		if n == times {
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, func(a, b call) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Nr, b.Nr), cmp.Compare(a.Nth, b.Nth))
	})
	return calls, usual
}

// faultJobs are all faults: first each call once, for one reason after the other.
func faultJobs(calls []call) (jobs []faultJob) {
	for round := range faultErrnos {
		for i, c := range calls {
			jobs = append(jobs, faultJob{c, faultErrnos[(i+round)%len(faultErrnos)]})
		}
	}
	return jobs
}

// sampleOf returns n of the faults, by turns of each role and system call.
func sampleOf(jobs []faultJob, n, offset int) (sample []faultJob) {
	groups := map[kindOfCall][]faultJob{}
	var order []kindOfCall
	for _, j := range jobs {
		kind := kindOfCall{j.Call.Role, j.Call.Nr}
		if groups[kind] == nil {
			order = append(order, kind)
		}
		groups[kind] = append(groups[kind], j)
	}
	for turn := offset * n / max(len(order), 1); len(sample) < min(n, len(jobs)); turn++ {
		for _, kind := range order {
			// A step that is prime to most lengths spreads over all of a group.
			g := groups[kind]
			sample = append(sample, g[turn*7919%len(g)])
		}
	}
	return sample[:min(n, len(sample))]
}

// faultWorker is a process in namespaces of its own that makes runs.
type faultWorker struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

func newFaultWorker(t *testing.T) *faultWorker {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestFaults$", "-test.timeout=0")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONTAIN_TEST_INSIDE=") && !strings.HasPrefix(v, "CONTAIN_TEST_FAULTS=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "CONTAIN_TEST_FAULTS=worker",
		"CONTAIN="+containPath, "CONTAIN_ALTERED="+alteredPath, "CONTAIN_RESTING="+restingPath, "PROBE="+probePath, "AUDIT="+auditPath, "ESCAPE="+escapePath)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	w := &faultWorker{t, in, bufio.NewScanner(out)}
	w.out.Buffer(nil, 1<<20)
	return w
}

// do has a run made.
func (w *faultWorker) do(job faultJob) (r faultResult) {
	line, err := json.Marshal(job)
	if err == nil {
		_, err = fmt.Fprintf(w.in, "%s\n", line)
	}
	if err != nil {
		return faultResult{Outcome: misbehaved, Problem: err.Error()}
	}
	for w.out.Scan() {
		if err := json.Unmarshal(w.out.Bytes(), &r); err == nil {
			return r
		}
		w.t.Logf("a worker says: %s", w.out.Text())
	}
	return faultResult{Outcome: misbehaved, Problem: "the worker has ended"}
}

// workOnFaults is the whole life of a worker.
func workOnFaults(t *testing.T) {
	root := rootfs(t)
	b := faultBaseline{before: hostState(t)}
	began := time.Now()
	b.given = runTraced(t, root, nil, 2*patience).given
	limit := faultTime(time.Since(began))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var job faultJob
		must(t, json.Unmarshal(in.Bytes(), &job))
		run := runTraced(t, root, &job, limit)
		if run.hung != "" { // or the machine is busy
			_ = b.left(t)
			b.remove(t)
			run = runTraced(t, root, &job, 5*limit)
		}
		line, err := json.Marshal(b.judge(t, root, run))
		must(t, err)
		fmt.Printf("%s\n", line)
	}
}

// tracedRun is a run, and what came of it.
type tracedRun struct {
	tracer
	given  string // what the program says
	stderr string
}

// runTraced makes a run, with a fault if that is not nil.
func runTraced(t *testing.T, root string, fault *faultJob, limit time.Duration) *tracedRun {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(filepath.Dir(root), "")
		must(t, err, os.Remove(f.Name()))
		defer f.Close()
		files[i] = f
	}
	run := &tracedRun{}
	if fault != nil {
		run.fault, run.errno = &fault.Call, fault.Errno
	}
	must(t, run.trace(faultArgs(root), files[0], files[1], limit))
	var texts [2]string
	for i, f := range files {
		text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		must(t, err)
		texts[i] = string(text)
	}
	run.given, run.stderr = sameEachTime(texts[0]), texts[1]
	return run
}

var (
	// Of /proc/self/status what contain has a hand in.
	statusLines = regexp.MustCompile(`(?m)^(Name|State|Tgid|Ngid|Pid|PPid|TracerPid|FDSize|Vm\w+|Rss\w+|HugetlbPages|CoreDumping|THP_enabled|SigQ|\w*ctxt\w*|Speculation\w*|x86\w*):.*\n`)
	// What differs each time, and hierarchies of others.
	numbers = regexp.MustCompile(`(?m)(^\d+:name=.*\n|nr_inodes=\d+|fe80::[0-9a-f:]+|:\[\d+\]|0::/.*|(#|/)\d{3,}( \(deleted\))?)`)
	ownPID  = regexp.MustCompile(`(?m)^NSpid:\t(\d+)$`)
)

// sameEachTime is what the program says, less what differs from run to run.
func sameEachTime(text string) string {
	if pid := ownPID.FindStringSubmatch(text); pid != nil {
		text = regexp.MustCompile(`(?m)^(NS\w+:\t)`+pid[1]+"$").ReplaceAllString(text, "${1}own")
	}
	return numbers.ReplaceAllString(statusLines.ReplaceAllString(mountsOf(text), ""), "N")
}

// faultBaseline is what runs are compared with.
type faultBaseline struct {
	before []string // the host
	given  string   // the program
}

// said is what contain may print: one line, and a hint.
var said = regexp.MustCompile(`^contain: [^\n]+\n(hint: [^\n]+\n)?$`)

// judge says what came of a run, and cleans up after it.
func (b *faultBaseline) judge(t *testing.T, root string, run *tracedRun) faultResult {
	r := faultResult{Call: run.injected, Stderr: run.stderr}
	status := run.status.ExitStatus()
	whole := run.given == b.given
	ran := run.given != ""
	switch {
	case run.hung != "":
		r.Problem = "hung: " + run.hung
	case run.status.Signaled():
		r.Problem = "died of " + run.status.Signal().String()
	case run.stderr != "" && !said.MatchString(run.stderr):
		r.Problem = "printed something else"
	case strings.Contains(run.stderr, "internal error"):
		r.Problem = "panicked"
	case run.injected == "" && status == faultStatus && whole && run.stderr == "":
		r.Outcome = notReached
	case run.injected == "":
		r.Problem = fmt.Sprintf("without a fault: status %d", status)
	case status == faultStatus && !whole:
		r.Problem = "the program was given something else:\n" + difference(b.given, run.given)
	case status == faultStatus && run.stderr == "":
		r.Outcome = survived
	case status == faultStatus:
		r.Outcome = saidSo
	case run.stderr == "":
		r.Problem = fmt.Sprintf("status %d and not a word", status)
	case status == 125 && (run.late && whole || ran && run.fault.Role == rolePID1):
		r.Outcome = refusedLate // pid1 drops its capabilities while the program starts
	case ran:
		r.Problem = fmt.Sprintf("status %d, though the program has run", status)
	case status == 125:
		r.Outcome = refused
	case status == 126 || status == 127:
		r.Outcome = notExecuted
	default:
		r.Problem = fmt.Sprintf("status %d", status)
	}
	if r.Left = b.left(t); len(r.Left) > 0 {
		_ = exec.Command(containPath, faultArgs(root)...).Run() // with its program's status
		r.Gone = len(b.left(t)) == 0
		b.remove(t)
		if !run.late || !r.Gone {
			r.Problem = strings.TrimPrefix(r.Problem+"; left "+kindsOf(r.Left), "; ")
		}
	}
	if r.Problem != "" {
		r.Outcome = misbehaved
		r.Problem = fmt.Sprintf("%s (status %d)", r.Problem, status)
	}
	return r
}

// difference is the lines that only one of two texts has.
func difference(a, b string) string {
	one, two := strings.Split(a, "\n"), strings.Split(b, "\n")
	return "-" + strings.Join(without(one, two), "\n-") + "\n+" + strings.Join(without(two, one), "\n+")
}

// left is what is left on the host, when the kernel has had time to remove it.
func (b *faultBaseline) left(t *testing.T) (left []string) {
	for deadline := time.Now().Add(patience / 5); ; time.Sleep(2 * time.Millisecond) {
		if left = without(hostState(t), b.before); len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// kindsOf is a list of what is left, without the names.
func kindsOf(left []string) string {
	kinds := map[string]int{}
	for _, what := range left {
		kind, _, _ := strings.Cut(what, " ")
		if what == "state addresses" {
			kind = what
		}
		kinds[kind]++
	}
	return fmt.Sprint(kinds)[len("map"):]
}

// head is the first lines of a text.
func head(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[:min(len(lines), 5)], "")
}

// remove removes what is left.
func (b *faultBaseline) remove(t *testing.T) {
	for _, what := range without(hostState(t), b.before) {
		switch kind, name, _ := strings.Cut(what, " "); kind {
		case "link":
			if link, err := netlink.LinkByName(name); err == nil {
				_ = netlink.LinkDel(link)
			}
		case "state":
			_ = os.RemoveAll(filepath.Join(stateDir, name))
		case "cgroup":
			_ = cgroups.RemovePath(name)
		case "mount":
			_ = unix.Unmount(strings.Fields(name)[4], unix.MNT_DETACH)
		}
	}
	b.before = hostState(t)
}

// callNames are the names of system calls.
func callNames(t *testing.T) map[uint64]string {
	text, err := os.ReadFile("../syscalls.tsv")
	must(t, err)
	column := map[string]int{"amd64": 1, "arm64": 3}[runtime.GOARCH]
	names := map[uint64]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) > column {
			if nr, err := strconv.ParseUint(f[column], 10, 32); err == nil {
				names[nr] = f[0]
			}
		}
	}
	return names
}

// faultReport counts how runs have ended.
type faultReport struct {
	names    map[uint64]string // of system calls
	mu       sync.Mutex
	outcomes map[string]int
	left     map[string]int // by failed removals
}

// add fails the test for a run that misbehaved, and tells of those that may be of interest.
func (f *faultReport) add(t *testing.T, job faultJob, r faultResult) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := cmp.Or(f.names[job.Call.Nr], fmt.Sprint("call ", job.Call.Nr))
	what := fmt.Sprintf("%s: %s %d, %s (%s): ", job.Call.Role, name, job.Call.Nth, unix.ErrnoName(job.Errno), r.Call)
	outcome := r.Outcome
	if why := job.expected(r); why != "" && outcome == misbehaved {
		outcome = "as expected, because " + why
	}
	f.outcomes[outcome]++
	switch {
	case outcome == misbehaved:
		t.Errorf("%s%s\n%s", what, r.Problem, head(r.Stderr))
	case len(r.Left) > 0:
		f.left[map[bool]string{true: "gone after the next run", false: "still there"}[r.Gone]]++
		t.Logf("%s%s; left %s; gone after the next run: %t; %s", what, outcome, kindsOf(r.Left), r.Gone, head(r.Stderr))
	case outcome == saidSo || outcome == refusedLate || outcome == notExecuted || outcome != r.Outcome:
		t.Logf("%s%s: %s", what, outcome, head(r.Stderr))
	}
}

func (f *faultReport) String() string {
	var b strings.Builder
	for _, outcome := range slices.Sorted(maps.Keys(f.outcomes)) {
		fmt.Fprintf(&b, "%6d %s\n", f.outcomes[outcome], outcome)
	}
	for _, what := range slices.Sorted(maps.Keys(f.left)) {
		fmt.Fprintf(&b, "%6d left something by a failed removal, %s\n", f.left[what], what)
	}
	return b.String()
}
