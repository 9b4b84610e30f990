// The container: the only file that calls libcontainer to create, start,
// release and destroy one.

package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/docker/go-units"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// container is one run: a state entry, a cgroup and, once started, a process:
// libcontainer's init, which becomes pid1. All bear the same id.
type container struct {
	id     string
	config *configs.Config // libcontainer's
	rootfs *rootfs
	lib    *libcontainer.Container
	entry  *os.File      // the state entry, locked: see sweep.go
	swept  chan struct{} // closed when the sweep is done, which destroy waits for
	cgroup cgroups.Manager
	task   task
	limits limits
	setup  setup                         // what the init does before libcontainer
	wanted func() ([]wantedMount, error) // mounts that the program must see
	init   int                           // the pid of libcontainer's, then of pid1; 0 until started
	report *os.File                      // contain's end of reportFD
	early  *pid1Report                   // read before its time, for wait
	pidfd  atomic.Int32                  // of the init, once started; else -1

	sigs      *signals
	terminal  *terminal      // of the program; nil: none
	lent      []lentTerminal // the caller's that it has
	resumed   time.Time      // when contain was last, after a stop
	oom       *os.File       // v1: readable when the kernel is about to kill; else nil
	asked     atomic.Int64   // when the program was last asked to end, since begun; 0: never
	unread    chan struct{}  // closed when what the program has printed is not to be waited for
	leave     sync.Once
	killed    atomic.Bool  // it was sent SIGKILL, and will end
	ended     atomic.Bool  // init was waited for
	broken    atomic.Value // the error, if a goroutine has panicked
	parallel  int          // how many CPUs the program can use at a time
	expired   atomic.Pointer[expiry]
	overtime  *overtime       // set when the program has ended
	usage     *os.File        // what says how much CPU time was used, if that is limited; else nil
	usageUnit time.Duration   // of that
	netns     *netns.NsHandle // of its interface; or nil
	counters  []*os.File      // of that, see unplug.go
	network   network
	bridge    bridge    // that this is on, or the other interface
	ids       idRange   // of its user namespace
	own       ownStatus // contain's
	disks     []ioLimit // resolved
	pending   uint64    // signals that may be queued for pid1
	addresses *claim    // what was reserved for it; or nil
	users     *claim
	rec       *record
	hostEnd   int       // index of the veth; 0: none
	cutOff    bool      // a limit has ended the program
	told      bool      // it was told to execute the program
	question  *question // to be read before the program gets its addresses; or nil

	reported  bool // what the cgroup says is wanted
	applied   map[string]string
	unleashed sync.Once
	found     map[string]string // limits, if read already
	startedAt time.Time         // the program; and it ended
	endedAt   time.Time
	wokenAt   time.Time  // by its end, out of a rest; else zero
	callers   []int      // descriptors that the caller has left open
	watched   []*os.File // for asleep.c, while contain goes to rest
	sleepless bool       // contain must not rest any more
}

// begun is a time to count from by the clock that nobody sets.
var begun = time.Now()

func init() {
	// libcontainer logs warnings to stderr in a form of its own. What matters
	// comes back as an error too; contain's stderr carries one line at most.
	logrus.SetOutput(io.Discard)
}

// createContainer makes the state entry of a container with a new id. Its undo
// is destroy.
func createContainer(opts options, h host) (*container, error) {
	stateDir, err := filepath.Abs(opts.stateDir)
	if err != nil {
		return nil, fmt.Errorf("-state-dir %s: %w", quoted(opts.stateDir), err)
	}
	if !utf8.ValidString(stateDir) {
		// libcontainer sends it to its init as JSON, which would replace such bytes.
		return nil, fmt.Errorf("-state-dir %s: not valid UTF-8", quoted(stateDir))
	}
	if stateDir, err = makeStateDir(stateDir); err != nil {
		return nil, fmt.Errorf("-state-dir %s: %w", quoted(opts.stateDir), err)
	}
	if h.rootfs.holds(stateDir) { // or programs would say whose it is, and what is left
		return nil, fmt.Errorf("-state-dir %s: is inside of DIR", quoted(opts.stateDir))
	}
	c := &container{
		task: newTask(opts, h), limits: opts.limits, parallel: parallel(opts, h), reported: opts.report != "",
		lent: h.lent, unread: make(chan struct{}), swept: make(chan struct{}),
		own: h.own, ids: opts.ids, network: opts.network, bridge: h.bridge, disks: h.io, pending: min(sigPending, h.pendingHard),
	}
	c.limits.rlimits = rlimitsOf(opts, h)
	c.pidfd.Store(-1)
	callers, told := filesOfCaller()
	c.callers, c.sleepless = callers, !told
	const tries = 10
	for try := 1; ; try++ {
		c.id = newID()
		c.config = newConfig(c.id, opts, h)
		err := c.makeEntry(stateDir)
		if try < tries && (errors.Is(err, libcontainer.ErrExist) || errors.Is(err, errSwept)) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("create container in %s: %w", quoted(opts.stateDir), err)
		}
		break
	}
	if c.network.mtu == 0 {
		c.network.mtu = c.bridge.mtu
	}
	if c.network.mac == nil {
		c.network.mac = mac(c.id)
	}
	go c.guard(func() { c.sweep(stateDir, opts) })
	if err := c.makeCgroup(h.cgroup); err != nil {
		return nil, then(err, c.destroy())
	}
	whole := *c.config
	c.wanted = beside(func() ([]wantedMount, error) { return wantedMounts(&whole), nil })
	c.setup = takeOver(c.config, c.network)
	// It was checked as "/". Now it is where init.go mounts it, and the directory
	// that libcontainer starts its init in.
	c.config.Rootfs = filepath.Join(stateDir, c.id)
	return c, nil
}

// makeEntry makes the state entry, and this process its owner.
func (c *container) makeEntry(stateDir string) (err error) {
	if c.lib, err = libcontainer.Create(stateDir, c.id, c.config); err != nil {
		return err
	}
	path := filepath.Join(stateDir, c.id)
	if c.entry, err = takeEntry(path); err != nil && !errors.Is(err, errSwept) {
		return then(err, os.RemoveAll(path))
	}
	return err
}

// sweep removes what dead contains have left, beside the start. What it cannot remove
// soon is for the next.
func (c *container) sweep(stateDir string, opts options) {
	defer close(c.swept)
	s := sweeper{dir: stateDir, limit: time.Now().Add(staleIsMuch), wait: staleIsBusy, removed: func(string) {}}
	if len(opts.address) == 0 {
		s.unheld = append(s.unheld, claimsName)
	}
	if !opts.ids.wanted {
		s.unheld = append(s.unheld, usersName)
	}
	_ = s.sweep()
}

// newTask returns what pid1 is to do, but for its cgroups.
func newTask(opts options, h host) task {
	fixed := []string{"PATH=" + searchPath, "HOME=" + h.home, "container=contain"}
	if term, ok := os.LookupEnv("TERM"); ok && h.tty.replace != 0 {
		fixed = append(fixed, "TERM="+term)
	}
	t := task{
		argv:     opts.argv,
		env:      opts.environment(fixed),
		path:     opts.searchPath(),
		caps:     h.caps,
		user:     opts.user,
		filter:   h.filter,
		workdir:  opts.workdir,
		newPrivs: opts.newPrivs,
		direct:   !opts.init,
		session:  h.orphaned && h.tty.replace == 0, // the terminal is pid1's session's
		cpus:     h.affinity,
		tty:      h.tty.replace,
		front:    h.tty.front,
	}
	return t
}

// parallel is how many CPUs a program can use at a time; what -cpus gives it for a
// period, too, it can use up on all of them at once.
func parallel(opts options, h host) int {
	n := max(len(h.cpus.available), 1)
	if opts.cpus != nil {
		n = len(opts.cpus)
	}
	return n
}

// rlimitsOf returns the limits to set: also of how many signals may be queued, which
// the kernel counts by user, together with the host's root.
func rlimitsOf(opts options, h host) []rlimit {
	if slices.ContainsFunc(opts.rlimits, func(l rlimit) bool { return l.name == "sigpending" }) {
		return opts.rlimits
	}
	pending := min(sigPending, h.pendingHard)
	return append([]rlimit{{"sigpending", pending, pending}}, opts.rlimits...)
}

// makeCgroup makes the container's cgroup, still without limits: those
// libcontainer sets in the course of the start.
func (c *container) makeCgroup(h cgroupHost) error {
	m, err := managerOf(c.lib)
	if err != nil {
		return err
	}
	if c.cgroup, err = newCgroup(c.id, h, c.config.Cgroups); err != nil {
		return fmt.Errorf("plan the cgroup: %w", err)
	}
	makes := made{cgroups: cgroupDirs(c.cgroup), cgroupns: ownNamespace("cgroup")}
	if len(c.network.address) > 0 {
		makes.netns = ownNamespace("net")
	}
	if err := makes.note(c.entry); err != nil {
		return fmt.Errorf("write the state entry %s: %w", quoted(c.entry.Name()), reason(err))
	}
	*m = bystander{c.cgroup, c.config.Cgroups.Resources}
	if err := c.cgroup.Apply(-1); err != nil {
		return fmt.Errorf("make the cgroup: %w", err)
	}
	return nil
}

// newID returns eight random hexadecimal digits: short enough for the name of
// a network interface, unlikely enough to meet again.
func newID() string {
	var b [4]byte
	// Not crypto/rand at once, which makes itself ready for more first: 0.07 ms.
	if n, err := unix.Getrandom(b[:], 0); n != len(b) || err != nil {
		rand.Read(b[:]) // never fails
	}
	return hex.EncodeToString(b[:])
}

// start brings the container up to where only pid1 is left to be executed:
// namespaces, limits, mounts, pivot_root. It must be called on the main thread,
// see PDEATHSIG in main.go. Its undo is in destroy.
func (c *container) start(root *rootfs) error {
	c.rootfs = root
	p, err := c.newProcess(root)
	if err != nil {
		return err
	}
	plugged := c.plugIn()
	err = c.lib.Start(p)
	closeAll(p.ExtraFiles)
	if err != nil {
		_ = unix.Shutdown(int(c.report.Fd()), unix.SHUT_RD) // nobody is to be waited for
	}
	unplugged := <-plugged
	if unplugged == nil {
		unplugged = c.fault()
	}
	if err != nil && unplugged != nil && !isGone(unplugged) {
		return unplugged
	}
	if err != nil {
		// What init.go has to say is closer to the matter.
		var text [4096]byte
		if n, _, err := unix.Recvfrom(int(c.report.Fd()), text[:], unix.MSG_DONTWAIT); n > 0 && err == nil {
			return fmt.Errorf("start container: %s", strings.TrimSpace(string(text[:n])))
		}
		return fmt.Errorf("start container: %w", err)
	}
	pid, err := p.Pid()
	var fd int
	if err == nil {
		c.init = pid
		fd, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	c.pidfd.Store(int32(fd))
	return unplugged
}

// isGone tells whether an error is that a process had ended.
func isGone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrProcessDone)
}

// signal sends sig to pid1, which passes it on: to the program, or to the whole
// process group that it began in. It is no error if that has ended.
func (c *container) signal(sig unix.Signal, how uint32) {
	info := unix.Siginfo{Signo: int32(sig), Code: siQueue}
	// si_value of siginfo_t on 64-bit machines, after si_pid and si_uid
	(*[8]uint32)(unsafe.Pointer(&info))[6] = how
	_ = unix.PidfdSendSignal(int(c.pidfd.Load()), sig, &info, 0)
}

// guard runs f, which is a goroutine. A panic in it ends the run as one in main
// does: the program is killed, and what was changed, the terminal too, is undone.
func (c *container) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.broken.Store(internalError(p))
			c.kill()
			c.abandon()
		}
	}()
	f()
}

// fault is the error of a goroutine that has panicked, or nil.
func (c *container) fault() error {
	err, _ := c.broken.Load().(error)
	return err
}

// abandon has what the program printed last not be waited for: nobody takes it.
func (c *container) abandon() { c.leave.Do(func() { close(c.unread) }) }

// wasAsked tells whether the program was asked to end not long before it did.
func (c *container) wasAsked() bool {
	asked := c.asked.Load()
	return asked != 0 && asked > int64(c.endedAt.Add(-readerComes).Sub(begun))
}

// kill kills all processes of the container.
func (c *container) kill() {
	c.killed.Store(true)
	c.unleash()
	c.signal(unix.SIGKILL, pid1ToProgram)
}

// unleash lifts what makes processes wait: they must run to die, and what they have
// asked of a disk must be done. With -cpus 0.01 it took a hundred of them ten seconds;
// with one byte a second from a disk, or frozen by somebody else, for ever.
func (c *container) unleash() {
	if c.cgroup == nil {
		return
	}
	c.unleashed.Do(func() {
		if g, ok := c.cgroup.(*cgroup1); ok && g.Path("freezer") != "" {
			thaw(g.Path("freezer"))
		}
		if c.limits.cpuQuota == 0 && len(c.disks) == 0 {
			return
		}
		if c.reported {
			c.found = readLimits(c.cgroup)
		}
		lift(c.cgroup, c.disks)
	})
}

// goOn resumes the program, with the whole group that was stopped with it; in the
// foreground of its terminal, if contain is in that of its caller's.
func (c *container) goOn() {
	c.terminal.enter()
	how := uint32(pid1ToGroup)
	if c.terminal.inFront() {
		how = pid1ToFront
	}
	c.signal(unix.SIGCONT, how)
}

// siQueue is SI_QUEUE, sigaction(2).
const siQueue = -1

// newProcess returns what libcontainer is to execute in the container, with the
// descriptors that pid1.c and init.go expect.
func (c *container) newProcess(root *rootfs) (p *libcontainer.Process, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	c.report = os.NewFile(uintptr(ends[0]), "report")
	if err := unix.SetsockoptInt(ends[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return nil, fmt.Errorf("setsockopt: %w", err)
	}
	files := []*os.File{os.NewFile(uintptr(ends[1]), "report of pid1")}
	var doors doors
	defer func() {
		if err != nil {
			closeAll(append(files, doors.files...))
		}
	}()
	if doors, err = openDoors(c.cgroup, c.task.direct || c.ids.wanted); err != nil {
		return nil, fmt.Errorf("open the cgroup: %w", err)
	}
	c.task.doors = doors
	encoded, err := c.task.encode()
	if err != nil {
		return nil, cannotExec("program %s: %w", quoted(c.task.argv[0]), err)
	}
	for _, f := range []struct {
		name     string
		contents []byte
	}{{"contain-init", pid1Image()}, {"contain-task", encoded}, {"contain-setup", c.setup.encode()}} {
		file, err := sealedFile(f.name, f.contents)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	tree, err := root.clone(c.ids)
	if err != nil {
		return nil, err
	}
	files = append(files, tree)
	own, err := openOwnFiles(c.network)
	if err != nil {
		return nil, err
	}
	files = slices.Concat(files, own, doors.files)
	os.Args[0] = initName // libcontainer copies it to the init's argv[0]
	return &libcontainer.Process{
		Args:       []string{pid1Path},
		Env:        c.task.env, // without HOME libcontainer would read DIR's /etc/passwd, be it a FIFO
		Cwd:        "/",
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: files,
		Init:       true,
		// What ends it, and not each of its steps: twelve lines to format, send and parse.
		LogLevel: strconv.Itoa(int(logrus.FatalLevel)),
	}, nil
}

// abortOn kills the init if a signal that ends contain arrives before the
// returned function is called, which then returns that signal. The start may
// wait for what the rootfs holds, a network file system for one.
func (c *container) abortOn(sigs *signals) (stop func() (unix.Signal, bool)) {
	quit, done := make(chan struct{}), make(chan struct{})
	var sig unix.Signal
	go c.guard(func() {
		defer close(done)
		for sig = sigs.wait(quit); sig != 0; {
			killChildren(c.keeper())
			select {
			case <-quit:
				return
			case <-time.After(childrenAppear): // one may just have been made
			}
		}
	})
	return func() (unix.Signal, bool) {
		close(quit)
		<-done
		return sig, sig != 0
	}
}

// killChildren kills what this process has started from its main thread, but for
// one: while libcontainer starts the container, its init and the helpers of that.
// The container's cgroup is still empty then. It needs CONFIG_PROC_CHILDREN.
func killChildren(except int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Getpid()))
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid != except {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// keeper is the pid of the keeper of systemd's scope, or 0.
func (c *container) keeper() int {
	var s *scope
	switch g := c.cgroup.(type) {
	case *cgroup1:
		s = g.scope
	case *cgroup2:
		s = g.scope
	}
	if s == nil {
		return 0
	}
	return s.keeper.Pid
}

// exec has the init execute pid1, and that the program. It returns when signals
// can be passed on: pid1 keeps them for the program. If the kernel refuses the
// program, the error comes here or later from wait.
func (c *container) exec(sigs *signals) error {
	c.sigs = sigs
	if c.limits.memory != 0 {
		if err := c.watchOOM(); err != nil {
			return err
		}
	}
	init := c.init
	mounts := c.lookAtMounts(init)
	if err := c.lib.Exec(); err != nil {
		return fmt.Errorf("execute program: %w", err)
	}
	pid, err := c.awaitReady(init)
	if pid == 0 || err != nil {
		return err // no process: killed, wait tells
	}
	if err := c.verify(pid, init, mounts); errors.Is(err, errGone) {
		return nil
	} else if err != nil {
		return err
	}
	waitForThreads() // before the modes of the terminal are anybody's to restore
	c.terminal.begin([2]int{pid, init}, c.task.front)
	if c.reported {
		c.applied = readLimits(c.cgroup)
	}
	if c.limits.cpuTime != 0 {
		if c.usage, c.usageUnit, err = openUsage(c.cgroup); err != nil {
			return fmt.Errorf("watch the CPU time: %w", err)
		}
	}
	if err := c.fault(); err != nil {
		return err
	}
	sigs.passEarly(c)
	c.startedAt = time.Now()
	c.told = true
	if err := c.tell(); err != nil {
		return err
	}
	if c.limits.wall != 0 || c.limits.cpuTime != 0 {
		go c.guard(c.keepTime)
	}
	return nil
}

// awaitReady waits until the process that is to become the program has nothing left to
// do but that, and returns it, limited; or 0, if it was killed.
func (c *container) awaitReady(init int) (pid int, err error) {
	for limited := false; ; {
		if pid, err = peerOf(c.report); err != nil {
			return 0, err
		}
		report, err := readReport(c.report)
		switch {
		case errors.Is(err, io.EOF):
			return 0, nil
		case err != nil:
			return 0, err
		case report.kind == pid1Ended && unix.WaitStatus(report.value).Exited():
			return 0, errors.New("start the program: its process has ended before")
		case report.kind != pid1Ready && report.kind != pid1Unlimited:
			c.early = &report
			return 0, report.failure(c.task)
		}
		if !limited {
			if err := c.setRlimits(pid, init); err != nil {
				return 0, err
			}
		}
		if report.kind == pid1Ready {
			return pid, nil
		}
		limited = true
		if err := c.tell(); err != nil {
			return 0, err
		}
	}
}

// tell tells the process that is to become the program to go on. It is no error if that
// was killed: wait tells.
func (c *container) tell() error {
	_, err := c.report.Write([]byte{0})
	if err == nil || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("let the program start: %w", err)
}

// setRlimits limits the process that is to become the program; and what can be queued
// for pid1, which counts too.
func (c *container) setRlimits(program, init int) error {
	_ = unix.Prlimit(init, unix.RLIMIT_SIGPENDING, &unix.Rlimit{Cur: c.pending, Max: c.pending}, nil)
	for _, l := range c.limits.rlimits {
		if err := l.set(program); errors.Is(err, unix.ESRCH) {
			return nil // killed: wait tells
		} else if err != nil {
			return err
		}
	}
	return nil
}

// wait waits for the program to end. If the kernel has killed any of its tree
// for the memory limit, that is how the program ended, and the error says so.
func (c *container) wait() (status, error) {
	ending, reported, err := c.follow()
	if err != nil {
		return statusOf(err), err
	}
	if reported { // else it runs on: as PID 1, or is being killed with that
		c.noteEnd()
	} else {
		c.restUntil(int(c.pidfd.Load()))
	}
	state, err := c.waitInit()
	c.ended.Store(true)
	if !reported {
		c.noteEnd()
	}
	c.terminal.drain(c.wasAsked, c.unread)
	if err != nil {
		return failed, fmt.Errorf("wait for the program: %w", err)
	}
	own, oom := c.oomError()
	c.cutOff = own || c.overtime != nil
	if own {
		return status{signal: unix.SIGKILL, cause: causeOOM}, oom
	}
	if !reported { // killed from outside, with its init
		ending = state
		if ending.Exited() && !(c.task.direct && c.told) {
			return failed, errors.New("the container's init has ended, and has not said how the program did")
		}
	}
	st := statusOfWait(ending)
	if c.overtime != nil {
		c.overtime.ending = st
		return status{code: exitTimedOut, cause: c.overtime.cause}, errors.New(c.overtime.text)
	}
	st.typed = c.terminal.wasTyped(st.signal)
	return st, oom
}

// waitInit waits for the init to end.
func (c *container) waitInit() (ws unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(c.init, &ws, 0, nil); err != unix.EINTR {
			return ws, err
		}
	}
}

// noteEnd notes when the program has ended, and whether a time limit has ended it.
func (c *container) noteEnd() {
	if c.endedAt = c.wokenAt; c.endedAt.IsZero() {
		c.endedAt = time.Now()
	}
	c.unleash() // what it has left is to end soon
	if e := c.expiry(); e != nil {
		c.overtime = &overtime{cause: e.cause, text: e.text(c.limits.grace), killed: e.killed.Load()}
	}
}

// follow reads pid1's reports until the program has ended: with which status,
// unless pid1 was killed or has become the program.
func (c *container) follow() (ending unix.WaitStatus, reported bool, err error) {
	for {
		if c.early == nil {
			c.restUntil(int(c.report.Fd()))
		}
		report, err := c.nextReport()
		if errors.Is(err, io.EOF) {
			return 0, false, nil
		} else if err != nil {
			return 0, false, err
		}
		switch report.kind {
		case pid1Stopped:
			c.stopped(unix.Signal(report.value))
		case pid1Continued:
		case pid1Ended:
			return unix.WaitStatus(report.value), true, nil
		default:
			return 0, false, report.failure(c.task)
		}
	}
}

// stopped does what is to be done after sig has stopped the program. It returns
// when contain has been stopped and resumed too, or needs not.
func (c *container) stopped(sig unix.Signal) {
	t := c.terminal
	t.settle()
	asks := t != nil && (sig == unix.SIGTTIN || sig == unix.SIGTTOU)
	switch {
	case asks && (t.enter() || t.inFront()): // in front, but resumed by another
		c.goOn()
		return
	case t == nil || sig == unix.SIGSTOP || !inOrphanedGroup():
	case asks: // and never will have it: what the kernel would answer
		t.hangUp()
		c.goOn()
		return
	default: // no shell could resume contain; nor does the kernel stop it
		c.goOn()
		return
	}
	if c.goesOn() {
		return
	}
	if asks && t.enter() { // moved to the foreground meanwhile
		c.goOn()
		return
	}
	t.leave()
	c.sigs.stopAs(sig, c)
	t.forgetKeys()
	c.resumed = time.Now()
	t.enter()
}

// goesOn gives a program that was resumed a moment ago time to go on by itself
// before contain stops with it again, and tells whether it does. Each stop costs
// contain a process of its own, at the expense of its caller.
func (c *container) goesOn() bool {
	left := goesOnAgain - time.Since(c.resumed)
	if left <= 0 {
		return false
	}
	report := []unix.PollFd{{Fd: int32(c.report.Fd()), Events: unix.POLLIN}}
	for end := time.Now().Add(left); ; {
		n, err := unix.Poll(report, int(time.Until(end).Milliseconds())+1)
		if err != unix.EINTR || time.Now().After(end) {
			return err == nil && n > 0
		}
	}
}

func (c *container) nextReport() (pid1Report, error) {
	if report := c.early; report != nil {
		c.early = nil
		return *report, nil
	}
	return readReport(c.report)
}

// watchOOM has the whole tree killed when the kernel kills any of it: a limit
// that is exceeded ends the program, not a random part of it. On v2
// memory.oom.group does that in the kernel. On v1 the notice comes before the
// kill; it is counted in memory.oom_control once it is done. The notice is taken
// only then: if contain is stopped in between, it is resumed for it.
func (c *container) watchOOM() error {
	g, ok := c.cgroup.(*cgroup1)
	if !ok {
		return nil
	}
	oom, err := g.oomEvents()
	if err != nil {
		return fmt.Errorf("watch the memory limit: %w", err)
	}
	c.oom = oom
	go c.guard(c.heedOOM)
	return nil
}

// heedOOM waits for notices, and has the tree killed at one that is for its own limit.
func (c *container) heedOOM() {
	fd := int(c.oom.Fd())
	whenReadable(c.oom, func() (done bool) {
		if !isReadable(fd) {
			return false
		}
		for range oomTries {
			if readOOM(c.cgroup).own {
				c.kill()
				return true
			}
			time.Sleep(oomIsCounted)
		}
		var count [8]byte
		_, _ = unix.Read(fd, count[:]) // it was not for this limit
		return false
	})
}

// oomError says that the kernel has killed for want of memory, and whether for
// the container's own limit; nil if it has not.
func (c *container) oomError() (own bool, err error) {
	if c.limits.memory == 0 {
		return false, nil
	}
	oom := readOOM(c.cgroup)
	switch {
	case oom.kills == 0:
		return false, nil
	case !oom.own:
		return false, errors.New("the kernel killed for want of memory, but not for this -memory-limit: for a limit around it, or the host's own")
	}
	limit := uint64(c.limits.memory)
	text := "memory limit of " + units.BytesSize(float64(limit)) + " exceeded, killed ("
	if peak := min(oom.peak, limit); peak > 0 {
		text += "peak " + units.BytesSize(float64(peak)) + ", "
	}
	return true, fmt.Errorf("%sOOM kills: %d)", text, oom.kills)
}

// destroy kills what is left of the container and removes its cgroup and state
// entry.
func (c *container) destroy() error {
	if c.report != nil {
		c.report.Close()
	}
	c.terminal.close()
	for _, l := range c.lent {
		l.giveBack()
	}
	if c.init != 0 && !c.ended.Load() {
		c.unleash()
		_ = unix.Kill(c.init, unix.SIGKILL)
		_, _ = c.waitInit()
	}
	unplugged := make(chan struct{})
	go func() { // it may take as long as the rest
		defer close(unplugged)
		c.unplug()
	}()
	err := c.remove()
	<-unplugged
	<-c.swept
	c.entry.Close()
	if err != nil {
		return fmt.Errorf("clean up container %s: %w", c.id, err)
	}
	return nil
}

// remove removes the cgroup, if it is planned already, and then the state entry.
// libcontainer's Destroy does no more, but knows nothing of what has rested.
func (c *container) remove() error {
	if c.cgroup != nil {
		if err := c.cgroup.Destroy(); err != nil {
			return fmt.Errorf("remove the cgroup: %w", err)
		}
	}
	return os.RemoveAll(c.entry.Name())
}
