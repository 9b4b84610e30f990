// One run of a tool: started, waited for, and what it took.

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tooLong is when a run is given up.
const tooLong = time.Minute

var errInterrupted = errors.New("interrupted")

// run is one run to be: what a tool is to do.
type run struct {
	w       *world
	name    string // of the run, its cgroup and its interface
	address string // with prefix length; "": loopback only
	dir     string // for the tool's own files
	program []string
}

// row is a tool and a job that it does.
type row struct {
	tool *tool
	net  bool
}

func (r *row) job() string {
	if r.net {
		return "J"
	}
	return "J0"
}

func (r *row) String() string { return r.tool.name + ", " + r.job() }

// newRun prepares a run of the row, with a name and an address that none had before: what
// an earlier one has left in the kernel for a while is in nobody's way. Its undo is remove.
func (w *world) newRun(r *row, program ...string) (*run, error) {
	w.runs++
	one := &run{w: w, name: fmt.Sprintf("b%d", w.runs), program: program}
	one.dir = filepath.Join(w.dir, one.name)
	if r.net {
		n := w.runs%60000 + 256
		one.address = fmt.Sprintf("%s.%d.%d/16", cmp.Or(r.tool.subnet, "10.198"), n/256, n%256)
	}
	if err := os.Mkdir(one.dir, 0o755); err != nil {
		return nil, err
	}
	if r.tool.prepare != nil {
		if err := r.tool.prepare(one); err != nil {
			return nil, err
		}
	}
	return one, nil
}

func (r *run) remove() error { return os.RemoveAll(r.dir) }

// environment is what the scripts in jobs/ go by.
func (r *run) environment() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "NAME=" + r.name, "ROOT=" + r.w.root, "CPUS=" + r.w.cpus, "DIR=" + r.dir,
		fmt.Sprintf("BYTES=%d", memoryLimit), "ADDRESS=" + r.address, "GATEWAY=" + gateway, "BRIDGE=" + bridgeName,
		"JOBS=" + r.w.jobs,
	}
	var list []string
	for _, h := range r.w.cgroups {
		list = append(list, h.controller+"="+h.dir)
	}
	return append(env, "CGROUPS="+strings.Join(list, " "))
}

// started is a run in progress.
type started struct {
	*run
	pid   int
	since time.Time
}

// start starts the run. What it prints goes to files in its directory.
func (r *run) start(t *tool) (s started, err error) {
	argv, env := t.command(r), r.environment()
	path, err := lookPath(argv[0])
	if err != nil {
		return s, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return s, err
	}
	defer null.Close()
	out, err := os.Create(filepath.Join(r.dir, "printed"))
	if err != nil {
		return s, err
	}
	defer out.Close()
	attr := &syscall.ProcAttr{Dir: "/", Env: env, Files: []uintptr{null.Fd(), null.Fd(), out.Fd()}}
	s = started{run: r, since: time.Now()}
	s.pid, err = syscall.ForkExec(path, argv, attr)
	return s, err
}

// printed is what the tool has said on stderr, on one line.
func (r *run) printed() string {
	text, _ := os.ReadFile(filepath.Join(r.dir, "printed"))
	return strings.Join(strings.Fields(string(text)), " ")
}

// sample is what one run took.
type sample struct {
	Wall    time.Duration
	CPU     time.Duration // of all processes that were waited for in the end
	code    int
	printed string
}

// wait waits for the run to end, and for those that it has left to this process.
func (s started) wait() (sample, error) {
	watchdog := time.AfterFunc(tooLong, func() { syscall.Kill(s.pid, syscall.SIGKILL) })
	status, usage, err := waitFor(s.pid)
	if err != nil {
		return sample{}, err
	}
	if !watchdog.Stop() {
		return sample{}, fmt.Errorf("takes longer than %v", tooLong)
	}
	one := sample{Wall: time.Since(s.since), CPU: timeOf(usage), code: status.ExitStatus()}
	if status.Signaled() {
		one.code = 128 + int(status.Signal())
	}
	return one, nil
}

// reap waits for all children of this process, which are orphans of a tool's, and returns
// the CPU time of these. It is called when no run is in progress; but where there are
// residents, which are children too, it waits for nobody.
func (w *world) reap() (cpu time.Duration, err error) {
	if w.residents > 0 {
		return 0, nil
	}
	for deadline := time.Now().Add(tooLong); time.Now().Before(deadline); {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &usage)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return cpu, nil
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return cpu, err
		case pid == 0:
			time.Sleep(time.Millisecond)
		default:
			cpu += timeOf(usage)
		}
	}
	return cpu, errors.New("processes are left")
}

func waitFor(pid int) (status syscall.WaitStatus, usage syscall.Rusage, err error) {
	for {
		if _, err = syscall.Wait4(pid, &status, 0, &usage); !errors.Is(err, syscall.EINTR) {
			return status, usage, err
		}
	}
}

func timeOf(u syscall.Rusage) time.Duration {
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// once does one whole run of the row with a program.
func (w *world) once(r *row, program ...string) (one sample, err error) {
	run, err := w.newRun(r, program...)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, run.remove()) }()
	s, err := run.start(r.tool)
	if err != nil {
		return one, fmt.Errorf("%s: %w", r, err)
	}
	if one, err = s.wait(); err != nil {
		return one, err
	}
	cpu, err := w.reap()
	if err != nil {
		return one, fmt.Errorf("%s: %w", r, err)
	}
	one.CPU += cpu
	if interrupted.Load() {
		return one, errInterrupted
	}
	one.printed = run.printed()
	return one, nil
}

// measured does one run of /bin/true, which must succeed.
func (w *world) measured(r *row) (sample, error) {
	one, err := w.once(r, "/bin/true")
	if err == nil && one.code != 0 {
		err = fmt.Errorf("status %d: %s", one.code, one.printed)
	}
	return one, err
}

// resident is a program that was started with a row's tool and goes on.
type resident struct {
	started
	programs []int // its pids
}

// startResident starts the row with a program that sleeps, and waits until it does.
func (w *world) startResident(r *row) (one resident, err error) {
	run, err := w.newRun(r, "/bin/sleep", strconv.Itoa(1000000+w.runs)) // by this argument its process is known
	if err != nil {
		return one, err
	}
	if one.started, err = run.start(r.tool); err != nil {
		return one, err
	}
	w.residents++
	for try := 1; time.Since(one.since) < tooLong; try++ {
		time.Sleep(time.Millisecond)
		// Where many run already, looking at all processes takes long.
		if one.programs = among(below(one.pid), run.program); len(one.programs) == 0 && try%10 == 0 {
			one.programs = among(processes(), run.program)
		}
		if len(one.programs) > 0 {
			return one, nil
		}
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, one.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != nil || info.Signo != 0 {
			break
		}
	}
	text := run.printed()
	return one, errors.Join(fmt.Errorf("%s: its program does not start: %s", r, text), one.end())
}

// kill kills the program.
func (one resident) kill() {
	for _, pid := range among(one.programs, one.program) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// end kills the program, and waits for its tool.
func (one resident) end() error {
	one.kill()
	_, err := one.wait()
	one.w.residents--
	return errors.Join(err, one.remove())
}

// endAll ends all of them, first the programs.
func (w *world) endAll(all []resident) (err error) {
	for _, one := range all {
		one.kill()
	}
	for _, one := range all {
		err = errors.Join(err, one.end())
	}
	_, reapErr := w.reap()
	return errors.Join(err, reapErr)
}

// among returns those of the processes whose arguments are exactly these.
func among(pids []int, argv []string) (found []int) {
	for _, pid := range pids {
		if slices.Equal(commandLine(pid), argv) {
			found = append(found, pid)
		}
	}
	return found
}

// processes returns all processes.
func processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// below returns a process and all that come from it.
func below(pid int) []int {
	pids := []int{pid}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, thread := range threads {
		text, _ := os.ReadFile(thread)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, below(child)...)
			}
		}
	}
	return pids
}

func commandLine(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// descendants returns all processes that come from this one.
func descendants() []int { return below(os.Getpid())[1:] }
