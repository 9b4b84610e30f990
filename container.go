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
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// container is one run: a state entry, a cgroup and, once started, a process:
// libcontainer's init, which becomes pid1. All bear the same id.
type container struct {
	id      string
	lib     *libcontainer.Container
	cgroup  cgroups.Manager
	process *libcontainer.Process // nil until started
	report  *os.File              // contain's end of reportFD
	ended   bool                  // init was waited for
	memory  *cgroups.Resources    // the limit of memory and nothing else; nil: none
	argv    []string
	home    string
	direct  bool // the program itself is PID 1
}

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
	const tries = 10
	for try := 1; ; try++ {
		id := newID()
		config := newConfig(id, opts, h)
		lib, err := libcontainer.Create(stateDir, id, config)
		if errors.Is(err, libcontainer.ErrExist) && try < tries {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("create container in %s: %w", quoted(opts.stateDir), err)
		}
		c := &container{id: id, lib: lib, memory: memoryLimit(opts, h.cgroup), argv: opts.argv, home: h.home, direct: !opts.init}
		if err := c.takeCgroup(config.Cgroups, h.cgroup); err != nil {
			return nil, then(err, c.destroy())
		}
		return c, nil
	}
}

// takeCgroup gives the container a cgroup manager of contain's choice.
func (c *container) takeCgroup(config *cgroups.Cgroup, h cgroupHost) error {
	m, err := managerOf(c.lib)
	if err != nil {
		return err
	}
	own := *m // on v1 under systemd: libcontainer's driver for that
	switch {
	case h.v2:
		own, err = newCgroup2(c.id, h, config)
	case h.slice == "":
		own, err = newCgroup1(config, own.GetPaths())
	}
	if err != nil {
		return fmt.Errorf("plan the cgroup: %w", err)
	}
	*m, c.cgroup = own, own
	return nil
}

// newID returns eight random hexadecimal digits: short enough for the name of
// a network interface, unlikely enough to meet again.
func newID() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// start brings the container up to where only the exec of the program is left:
// namespaces, limits, mounts, pivot_root, capabilities. It must be called on
// the main thread, see PDEATHSIG in main.go. The program gets the affinity, or if
// that is nil every CPU of its cgroup: libcontainer resets it. Its undo is in
// destroy.
func (c *container) start(affinity unix.CPUSetDynamic) error {
	p, err := c.newProcess()
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range p.ExtraFiles {
			f.Close()
		}
	}()
	if err := c.lib.Start(p); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	c.process = p
	if affinity == nil {
		return nil
	}
	pid, err := p.Pid()
	if err == nil {
		err = unix.SchedSetaffinityDynamic(pid, affinity)
	}
	if err != nil {
		return fmt.Errorf("set CPU affinity: %w", err)
	}
	return nil
}

// newProcess returns what libcontainer is to execute in the container, with the
// descriptors that pid1.c and init.go expect.
func (c *container) newProcess() (*libcontainer.Process, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	c.report = os.NewFile(uintptr(ends[0]), "report")
	p := &libcontainer.Process{
		Args:       []string{pid1Path},
		Env:        []string{"PATH=" + searchPath, "HOME=" + c.home, "container=contain"},
		Cwd:        "/",
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{os.NewFile(uintptr(ends[1]), "report of pid1")},
		Init:       true,
	}
	os.Args[0] = initName // libcontainer copies it to the init's argv[0]
	task, err := pid1Task(c.argv, p.Env, c.direct)
	if err != nil {
		return nil, cannotExec("program %s: %w", quoted(c.argv[0]), err)
	}
	for _, f := range []struct {
		name     string
		contents []byte
	}{{"contain-init", pid1Image()}, {"contain-task", task}} {
		file, err := sealedFile(f.name, f.contents)
		if err != nil {
			return nil, err
		}
		p.ExtraFiles = append(p.ExtraFiles, file)
	}
	return p, nil
}

// abortOn kills the init if a signal that ends contain arrives before the
// returned function is called, which then returns that signal. The start may
// wait for what the rootfs holds, a network file system for one.
func (c *container) abortOn(sigs *signals) (stop func() (unix.Signal, bool)) {
	quit, done := make(chan struct{}), make(chan struct{})
	var sig unix.Signal
	go func() {
		defer close(done)
		for sig = sigs.wait(quit); sig != 0; {
			c.killAll()
			select {
			case <-quit:
				return
			case <-time.After(10 * time.Millisecond): // it may not be in its cgroup yet
			}
		}
	}()
	return func() (unix.Signal, bool) {
		close(quit)
		<-done
		return sig, sig != 0
	}
}

// killAll kills every process of the container.
func (c *container) killAll() {
	if g, ok := c.cgroup.(*cgroup2); ok && g.kill() == nil {
		return
	}
	pids, _ := c.cgroup.GetAllPids()
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// exec lets the init execute the program and returns when it is under way: from
// then on signals can be passed to it. If the kernel refuses the program, the
// error says why, here or later from wait.
func (c *container) exec() error {
	if c.memory != nil {
		c.watchOOM()
	}
	if err := c.lib.Exec(); err != nil {
		return fmt.Errorf("execute program: %w", err)
	}
	if _, err := readReport(c.report); errors.Is(err, io.EOF) {
		return nil // killed: wait tells
	} else if err != nil {
		return err
	}
	if err := c.limitMemory(); err != nil {
		return err
	}
	if _, err := c.report.Write([]byte{0}); err != nil {
		return nil // killed
	}
	report, err := readReport(c.report)
	if errors.Is(err, io.EOF) {
		return nil // killed, or it has become the program
	} else if err != nil {
		return err
	}
	return report.failure(c.argv[0])
}

// limitMemory sets the memory limit. Only pid1 is left of what has set up the
// container, and waits; so a limit can be smaller than libcontainer's init was.
func (c *container) limitMemory() error {
	if c.memory == nil {
		return nil
	}
	if c.memory.Memory < comfortable {
		shrink(c.cgroup, uint64(c.memory.Memory)/2)
	}
	if err := c.cgroup.Set(c.memory); err != nil {
		return fmt.Errorf("-memory-limit %s: %w", quoted(units.BytesSize(float64(c.memory.Memory))), err)
	}
	return forgetPeak(c.cgroup)
}

// wait waits for the program to end. If the kernel has killed any of its tree
// for the memory limit, that is how the program ended, and the error says so.
func (c *container) wait() (status, error) {
	ending, reported, err := c.follow()
	if err != nil {
		return statusOf(err), err
	}
	state, err := c.process.Wait()
	c.ended = true
	if state == nil {
		return failed, fmt.Errorf("wait for the program: %w", err)
	}
	own, oom := c.oomError()
	if own {
		return status{signal: unix.SIGKILL}, oom
	}
	if !reported { // killed from outside, with its init
		ending = unix.WaitStatus(state.Sys().(syscall.WaitStatus))
	}
	return statusOfWait(ending), oom
}

// follow waits for the next report of pid1: how the program ended, unless pid1
// was killed or has become the program.
func (c *container) follow() (ending unix.WaitStatus, reported bool, err error) {
	report, err := readReport(c.report)
	if errors.Is(err, io.EOF) {
		return 0, false, nil
	} else if err != nil {
		return 0, false, err
	}
	return unix.WaitStatus(report.value), true, report.failure(c.argv[0])
}

// watchOOM has the whole tree killed when the kernel kills any of it: a limit
// that is exceeded ends the program, not a random part of it. On v2
// memory.oom.group does that in the kernel. On v1 the notice comes before the
// kill; it is counted in memory.oom_control once it is done.
func (c *container) watchOOM() {
	notice, err := c.lib.NotifyOOM()
	if err != nil {
		return
	}
	go func() {
		for range notice {
			for range 100 {
				if readOOM(c.cgroup).own {
					c.killAll()
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
}

// oomError says that the kernel has killed for want of memory, and whether for
// the container's own limit; nil if it has not. It gives no number of kills:
// with memory.oom.group the kernel counts its victim twice.
func (c *container) oomError() (own bool, err error) {
	if c.memory == nil {
		return false, nil
	}
	oom := readOOM(c.cgroup)
	switch {
	case !oom.killed:
		return false, nil
	case !oom.own:
		return false, errors.New("the kernel killed for want of memory, but not for this -memory-limit: for a limit around it, or the host's own")
	}
	text := "memory limit of " + units.BytesSize(float64(c.memory.Memory)) + " exceeded, killed"
	if peak := min(oom.peak, uint64(c.memory.Memory)); peak > 0 {
		text += " (peak " + units.BytesSize(float64(peak)) + ")"
	}
	return true, errors.New(text)
}

// destroy kills what is left of the container and removes its cgroup and state
// entry.
func (c *container) destroy() error {
	if c.report != nil {
		c.report.Close()
	}
	if c.process != nil && !c.ended {
		_ = c.process.Signal(unix.SIGKILL)
		_, _ = c.process.Wait()
	}
	if err := c.lib.Destroy(); err != nil {
		return fmt.Errorf("clean up container %s: %w", c.id, err)
	}
	return nil
}
