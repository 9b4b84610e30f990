// A program that runs on is waited for in C (rest.c, asleep.c), not here: contain executes
// itself again, which frees what Go takes, 2 MB and seven threads, and when there is
// anything to do but to pass signals on, does so once more, and begins anew with what this
// file has written down.
//
// A start, a short run and one with a terminal do not get here.

package main

/*
#include <sys/prctl.h>
#include "rest.h"

static void name_of_process(char *name) { prctl(PR_GET_NAME, name); }
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// restsAfter is how long nothing has happened when contain goes to rest. Its end takes
// some milliseconds longer then: less than a hundredth of what the program has run. The
// linker can be told another, for a test.
var restsAfter = "1s"

const (
	restPays   = 100 * time.Millisecond // that much time a program must have left
	wakesEarly = 10 * time.Millisecond  // before that is used up, contain wakes
)

// calledAs are contain's arguments, the first of which it changes itself.
var calledAs = slices.Clone(os.Args)

// rested is what contain has to know again, and cannot learn from its arguments.
type rested struct {
	ID        string
	Init      int
	Keeper    int             // of systemd's scope; 0: none
	Started   int64           // CLOCK_MONOTONIC, nanoseconds
	Files     map[string]kept // by what they are
	Parallel  int             // of container, as the rest
	HostEnd   int
	Callers   []int
	Watched   []int
	UsageUnit time.Duration
	Disks     []uint64
	Applied   map[string]string
	Cgroup    cgroupRested
}

// kept is an open file.
type kept struct {
	FD   int
	Name string
}

// cgroupRested are a manager's own: of v2 or of v1, and the scope around it.
type cgroupRested struct {
	Dir    string
	Paths  map[string]string
	Around []string
	Unit   string
	Scope  string
}

// restUntil waits at rest until there is something to read from fd, and wakeUp goes on in
// another process image; or it returns, then or at once, because contain cannot rest: the
// caller waits itself. It must be called on the main thread.
func (c *container) restUntil(fd int) {
	after, err := time.ParseDuration(restsAfter)
	for err == nil && !c.sleepless && c.terminal == nil && len(c.lent) == 0 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(after.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case n != 0:
			return
		case !staysItself():
			c.sleepless = true
		case c.mayRest():
			c.sleepless = c.rest(fd) != nil
		}
	}
}

// staysItself tells whether an exec leaves this process as it is: its record locks, and
// its capabilities, which must be those that root gets then. If they are not, that would
// also undo a PDEATHSIG of its own (commit_creds in kernel/cred.c).
func staysItself() bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	var sets [4]capSet
	for i, name := range []string{"CapPrm", "CapEff", "CapBnd", "CapInh"} {
		if sets[i], err = capSetIn(string(text), name); err != nil {
			return false
		}
	}
	secure, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	return err == nil && secure == 0 && sets[0] == sets[2] && sets[1] == sets[2] && sets[3]&^sets[2] == 0 && linuxSince(5, 11)
}

// mayRest tells whether nothing is about to happen.
func (c *container) mayRest() bool {
	select {
	case <-c.swept:
	default:
		return false
	}
	if left, limited := c.wallTimeLeft(); limited && left < restPays {
		return false
	}
	if c.limits.cpuTime != 0 && (c.limits.cpuTime-cpuTimeUsed(c.cgroup))/time.Duration(c.parallel) < restPays {
		return false
	}
	return c.fault() == nil && c.expired.Load() == nil && !c.killed.Load()
}

// rest executes contain again, to rest until there is something to read from fd. It
// returns only if that fails. It must be called on the main thread.
func (c *container) rest(fd int) error {
	goOn, ok := c.sigs.pause(c)
	if !ok {
		return errors.New("the program is being killed")
	}
	defer goOn()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	c.watched = []*os.File{exe}
	defer func() { closeAll(c.watched) }() // and what writeDown adds, also if that fails
	file, files, err := c.writeDown(fd, exe)
	if err != nil {
		return err
	}
	defer file.Close()
	own := fmt.Sprintf("%s=%d:%d:%s", C.REST_VARIABLE, unix.Getpid(), file.Fd(), C.WOKEN_NOT)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, C.REST_VARIABLE+"=") })
	argv, err1 := syscall.SlicePtrFromStrings(calledAs)
	envp, err2 := syscall.SlicePtrFromStrings(append(env, own))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	for _, p := range slices.Concat(argv, envp) {
		if p != nil {
			pins.Pin(p)
		}
	}
	defer closeOnExec(files)
	for _, f := range files {
		if _, err := unix.FcntlInt(uintptr(f.FD), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	if !c.expired.CompareAndSwap(nil, goesToRest) {
		return errors.New("the program's time is up")
	}
	defer c.expired.Store(nil)
	return unix.Errno(C.rest_begin((**C.char)(unsafe.Pointer(&argv[0])), (**C.char)(unsafe.Pointer(&envp[0])), C.int(exe.Fd())))
}

// writeDown writes the file that rest.c and wakeUp read, and returns what must stay open,
// that included. exe is contain's own file.
func (c *container) writeDown(fd int, exe *os.File) (*os.File, map[string]kept, error) {
	head := C.struct_rest{
		pid: C.int32_t(unix.Getpid()), program: C.int32_t(c.pidfd.Load()),
		notes:  [2]C.int32_t{C.int32_t(c.sigs.notes[0]), C.int32_t(c.sigs.notes[1])},
		caught: C.uint64_t(c.sigs.all), noted: C.uint64_t(c.sigs.noted),
		until: c.until(),
		end:   C.int64_t(monotonic()/1e6 + (c.limits.wall - wakesEarly - time.Since(c.startedAt)).Milliseconds()),
	}
	head.until.report = C.int(fd)
	C.name_of_process(&head.name[0])
	head.exe = C.int32_t(exe.Fd())
	if err := c.watchMemory(&head); err != nil {
		return nil, nil, err
	}
	state, again := c.rested(), new(rested)
	text, err := json.Marshal(state)
	if err == nil {
		err = json.Unmarshal(text, again)
	}
	if err == nil && !reflect.DeepEqual(state, again) { // a path need not be UTF-8
		err = errors.New("it cannot be written down")
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := sealedFile("contain-rest", append(C.GoBytes(unsafe.Pointer(&head), C.sizeof_struct_rest), text...))
	if err != nil {
		return nil, nil, err
	}
	state.Files["rest"] = keptFile(file)
	for _, fd := range c.callers {
		state.Files[fmt.Sprint("caller's ", fd)] = keptFD(fd)
	}
	return file, state.Files, nil
}

// watchMemory opens what says that the kernel has killed for the memory limit, where
// that is not for the kernel to act on.
func (c *container) watchMemory(head *C.struct_rest) error {
	head.oom_control, head.peak = -1, [2]C.int32_t{-1, -1}
	g, ok := c.cgroup.(*cgroup1)
	if !ok || c.oom == nil {
		return nil
	}
	dir := g.Path("memory")
	control, err := os.Open(filepath.Join(dir, "memory.oom_control"))
	if err != nil {
		return err
	}
	c.watched, head.oom_control = append(c.watched, control), C.int32_t(control.Fd())
	for i, counter := range memoryCounters1 {
		full, err := ownLimit(dir, counter)
		if err != nil {
			continue // swap is not counted
		}
		peak, err := os.Open(filepath.Join(dir, counter+"max_usage_in_bytes"))
		if err != nil {
			return err
		}
		c.watched, head.peak[i], head.full[i] = append(c.watched, peak), C.int32_t(peak.Fd()), C.uint64_t(full)
	}
	return nil
}

func closeOnExec(files map[string]kept) {
	for _, f := range files {
		if f.FD > 2 {
			unix.CloseOnExec(f.FD)
		}
	}
}

func keptFile(f *os.File) kept { return kept{int(f.Fd()), f.Name()} }
func keptFD(fd int) kept       { return kept{FD: fd} }

// counterNames are the keys of container.counters in rested.Files.
var counterNames = [...]string{traffic: "traffic", tcpSockets: "tcp", tcpSockets6: "tcp6"}

// rested returns what wakeUp needs.
func (c *container) rested() *rested {
	r := &rested{
		ID: c.id, Init: c.init, Started: monotonic() - int64(time.Since(c.startedAt)), Parallel: c.parallel,
		HostEnd: c.hostEnd, Callers: c.callers, UsageUnit: c.usageUnit, Applied: c.applied, Files: map[string]kept{},
	}
	files := map[string]*os.File{"report": c.report, "entry": c.entry, "oom": c.oom, "usage": c.usage}
	for i, f := range c.counters {
		files[counterNames[i]] = f
	}
	for _, held := range []struct {
		what string
		*claim
	}{{"addresses", c.addresses}, {"users", c.users}} {
		if held.claim != nil {
			files[held.what] = held.file
		}
	}
	var scope *scope
	switch g := c.cgroup.(type) {
	case *cgroup2:
		r.Cgroup.Dir, scope = g.dir, g.scope
	case *cgroup1:
		r.Cgroup.Paths, r.Cgroup.Around, scope = g.GetPaths(), g.around, g.scope
	}
	if scope != nil {
		r.Cgroup.Unit, r.Cgroup.Scope, r.Keeper = scope.unit, scope.dir, scope.keeper.Pid
		files["hold"] = scope.hold
	}
	for what, f := range files {
		if f != nil {
			r.Files[what] = keptFile(f)
		}
	}
	r.Files["pidfd"] = keptFD(int(c.pidfd.Load()))
	r.Files["notes read"], r.Files["notes written"] = keptFD(c.sigs.notes[0]), keptFD(c.sigs.notes[1])
	if c.netns != nil {
		r.Files["netns"] = keptFD(int(*c.netns))
	}
	if c.rec.wanted {
		r.Files["record"] = keptFD(c.rec.fd)
	}
	for i, f := range c.watched {
		r.Files[fmt.Sprint("watched ", i)] = keptFile(f)
		r.Watched = append(r.Watched, int(f.Fd()))
	}
	for _, d := range c.disks {
		r.Disks = append(r.Disks, d.number)
	}
	return r
}

// monotonic is the kernel's clock that time.Since goes by.
func monotonic() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano()
}

// readRested returns what was written down, if contain has woken; else nil.
func readRested() (*rested, error) {
	if C.rest_file < 0 {
		return nil, nil
	}
	f := os.NewFile(uintptr(C.rest_file), "rest")
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil {
		return nil, err
	}
	r := new(rested)
	err = json.Unmarshal(text[C.sizeof_struct_rest:], r)
	return r, err
}

// wakeUp goes on where rest has left off, and undoes what runProgram would have.
func (r *rested) wakeUp(opts options, rec *record) (st status, err error) {
	closeOnExec(r.Files)
	for _, fd := range r.Watched {
		unix.Close(fd)
	}
	_ = rec.open("") // it is open
	rec.ask(opts)
	rec.Stage = stageExec
	if f, ok := r.Files["record"]; ok {
		rec.wanted, rec.fd = true, f.FD
	}
	c := r.container(opts)
	if c.cgroup, err = r.manager(); err != nil {
		return failed, fmt.Errorf("wake up: %w", err) // the next start cleans up
	}
	c.rec = rec
	defer c.addresses.release()
	defer c.users.release()
	defer func() {
		rec.look(c)
		err = then(err, c.destroy())
	}()
	sigs, err := resumeSignals([2]int{r.Files["notes read"].FD, r.Files["notes written"].FD})
	if err != nil {
		return failed, err
	}
	c.sigs = sigs
	sigs.collect(c)
	if c.oom != nil {
		go c.guard(c.heedOOM)
	}
	c.look()
	return c.attend()
}

// container is what the container was, but for its cgroup and signals.
func (r *rested) container(opts options) *container {
	c := &container{
		id: r.ID, init: r.Init, limits: opts.limits, network: opts.network, parallel: r.Parallel, reported: opts.report != "",
		task:    task{argv: opts.argv, workdir: opts.workdir, direct: !opts.init},
		hostEnd: r.HostEnd, callers: r.Callers, usageUnit: r.UsageUnit, applied: r.Applied, told: true,
		report: r.open("report"), entry: r.open("entry"), oom: r.open("oom"), usage: r.open("usage"),
		unread: make(chan struct{}), swept: make(chan struct{}),
		startedAt: time.Now().Add(-time.Duration(monotonic() - r.Started)),
	}
	close(c.swept)
	c.pidfd.Store(int32(r.Files["pidfd"].FD))
	for what, claimed := range map[string]**claim{"addresses": &c.addresses, "users": &c.users} {
		if f := r.open(what); f != nil {
			*claimed = &claim{f}
		}
	}
	if ns, ok := r.Files["netns"]; ok {
		handle := netns.NsHandle(ns.FD)
		c.netns = &handle
		for _, what := range counterNames {
			c.counters = append(c.counters, r.open(what))
		}
	}
	for _, number := range r.Disks {
		c.disks = append(c.disks, ioLimit{number: number})
	}
	return c
}

// open returns a file that was kept; nil: there is none.
func (r *rested) open(what string) *os.File {
	f, ok := r.Files[what]
	if !ok {
		return nil
	}
	return os.NewFile(uintptr(f.FD), f.Name)
}

// manager returns the manager of the cgroup.
func (r *rested) manager() (cgroups.Manager, error) {
	var s *scope
	if r.Keeper != 0 {
		s = &scope{unit: r.Cgroup.Unit, dir: r.Cgroup.Scope, hold: r.open("hold")}
		s.keeper, _ = os.FindProcess(r.Keeper)
	}
	config := &cgroups.Cgroup{Resources: &cgroups.Resources{}}
	if r.Cgroup.Dir != "" {
		m, err := fs2.NewManager(config, r.Cgroup.Dir)
		return &cgroup2{Manager: m, dir: r.Cgroup.Dir, scope: s}, err
	}
	m, err := fs.NewManager(config, r.Cgroup.Paths)
	return &cgroup1{Manager: m, around: r.Cgroup.Around, scope: s}, err
}

// look looks whether contain was woken because the program has ended: then that was when
// it woke. Else its time is kept again, unless C had to kill it for that.
func (c *container) look() {
	ended := isReadable(int(c.pidfd.Load()))
	if !ended && !c.task.direct && isReadable(int(c.report.Fd())) {
		report, err := readReport(c.report)
		if err == nil {
			c.early = &report
		}
		ended = err != nil || report.kind == pid1Ended
	}
	if C.rest_killed != 0 {
		e := c.limits.cpuTimeExpiry()
		if limit := c.limits.wall; limit != 0 && time.Since(c.startedAt) >= limit-wakesEarly {
			e = c.limits.wallExpiry()
		}
		e.hasty = true
		e.killed.Store(true)
		c.expired.Store(e)
		return
	}
	switch {
	case ended && C.rest_ended != 0:
		c.wokenAt = time.Now().Add(-time.Duration(monotonic() - int64(C.rest_ended)))
	case ended:
	case c.limits.wall != 0 || c.limits.cpuTime != 0:
		go c.guard(c.keepTime)
	}
}

func isReadable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}
