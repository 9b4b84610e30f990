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
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// container is one run: a state entry, a cgroup and, once started, an init
// that becomes the program. All bear the same id.
type container struct {
	id      string
	lib     *libcontainer.Container
	config  *configs.Config
	process *libcontainer.Process // nil until started
	execed  *os.File              // read end; at end of file once the program runs
	ended   bool                  // init was waited for
	memory  int64                 // the limit, bytes; 0: none
	argv    []string
}

func init() {
	// libcontainer logs warnings to stderr in a form of its own. What matters
	// comes back as an error too; contain's stderr carries one line at most.
	logrus.SetOutput(io.Discard)
}

// createContainer makes the state entry of a container with a new id. Its undo
// is destroy.
func createContainer(opts options, h host) (*container, error) {
	const tries = 10
	for try := 1; ; try++ {
		id := newID()
		config := newConfig(id, opts, h)
		lib, err := libcontainer.Create(opts.stateDir, id, config)
		switch {
		case err == nil:
			return &container{id: id, lib: lib, config: config, memory: opts.memory, argv: opts.argv}, nil
		case errors.Is(err, libcontainer.ErrExist) && try < tries:
			continue
		}
		return nil, fmt.Errorf("create container in %s: %w", quoted(opts.stateDir), err)
	}
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
// the main thread, see PDEATHSIG in main.go. Its undo is in destroy.
func (c *container) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	defer w.Close()
	c.execed = r
	p := &libcontainer.Process{
		Args:       c.argv,
		Env:        []string{"PATH=" + searchPath, "container=contain"},
		Cwd:        "/",
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{w}, // execedFD in the init
		Init:       true,
	}
	os.Args[0] = initName // libcontainer copies it to the init's argv[0]
	if err := c.lib.Start(p); err != nil {
		return c.startError(err)
	}
	c.process = p
	return nil
}

// startError adds what a user can do about the failure that users meet most.
func (c *container) startError(err error) error {
	err = fmt.Errorf("start container: %w", err)
	if c.memory != 0 && c.memory < 8*units.MiB {
		return withHint(err, "this version needs a -memory-limit of about 4M for its own start; try a larger one")
	}
	return err
}

// exec lets the init execute the program and returns when it has done so, or
// when it has ended instead, which wait then tells. If the kernel refuses the
// program, the error says why.
func (c *container) exec() error {
	if c.memory != 0 {
		c.watchOOM()
	}
	if err := c.lib.Exec(); err != nil {
		return fmt.Errorf("execute program: %w", err)
	}
	// The other end of the pipe is closed by execve (close-on-exec) or by the
	// end of the init; before that the init writes an error, if there is one.
	text, err := io.ReadAll(c.execed)
	if err != nil {
		return fmt.Errorf("wait for the program's exec: %w", err)
	}
	if len(text) > 0 {
		return cannotExec("program %s: %s", quoted(c.argv[0]), text)
	}
	return nil
}

// wait waits for the program to end. If the kernel has killed any of its tree
// for want of memory, that is how the program ended, and the error says so.
func (c *container) wait() (status, error) {
	state, err := c.process.Wait()
	c.ended = true
	if state == nil {
		return failed, fmt.Errorf("wait for the program: %w", err)
	}
	if err := c.oomError(); err != nil {
		return status{signal: unix.SIGKILL}, err
	}
	return statusOfWait(unix.WaitStatus(state.Sys().(syscall.WaitStatus))), nil
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
				if kills, _, err := c.oomKills(); err != nil || kills > 0 {
					_ = c.process.Signal(unix.SIGKILL)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
}

func (c *container) oomKills() (kills, peak uint64, err error) {
	state, err := c.lib.State()
	if err != nil {
		return 0, 0, err
	}
	return oomKills(c.config.Cgroups, state.CgroupPaths)
}

// oomError is nil unless the kernel counted an OOM kill in this cgroup.
func (c *container) oomError() error {
	if c.memory == 0 {
		return nil
	}
	kills, peak, err := c.oomKills()
	if err != nil || kills == 0 {
		return nil
	}
	processes := "1 process"
	if kills > 1 {
		processes = fmt.Sprintf("%d processes", kills)
	}
	return fmt.Errorf("memory limit of %s exceeded: the kernel killed %s (peak %s)",
		units.BytesSize(float64(c.memory)), processes, units.BytesSize(float64(peak)))
}

// destroy kills what is left of the container and removes its cgroup and state
// entry.
func (c *container) destroy() error {
	if c.execed != nil {
		c.execed.Close()
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
