// systemd: a scope of its own for each container, by D-Bus over systemd's
// private socket (no bus daemon needed). The scope's cgroup is delegated to
// contain: systemd leaves alone what is below it, also when it reloads.
//
// A scope lives as long as a process is in it, and its cgroup goes the moment
// that the last one leaves, with the figures of the program that has just
// ended. So each has a keeper, a process that does nothing and ends with
// contain:
//
//	SLICE/contain-ID.scope           made and removed by systemd
//	SLICE/contain-ID.scope/keeper    the keeper
//	SLICE/contain-ID.scope/program   the program, with its limits
//
// Not libcontainer's systemd driver: that one has systemd write the limits,
// which resets memory.oom.group at each daemon-reload (seen with systemd 252),
// and it enables every controller in every cgroup from the root down.

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/opencontainers/cgroups"
)

// systemdTimeout bounds every wait for systemd.
const systemdTimeout = 30 * time.Second

// scope is a transient unit of systemd's and its keeper.
type scope struct {
	unit  string // NAME.scope
	slice string // the unit it is made in
	dir   string // v2: its cgroup

	controllers []string // to delegate
	keeper      *os.Process
	hold        *os.File // the keeper ends when this is closed
}

// start makes the scope, with the keeper in it. Its undo is stop.
func (s *scope) start() error {
	if err := s.startKeeper(); err != nil {
		return fmt.Errorf("start keeper: %w", err)
	}
	pid := s.keeper.Pid
	properties := []dbus.Property{
		dbus.PropDescription("contain"),
		dbus.PropSlice(s.slice),
		property("DelegateControllers", s.controllers),
		property("PIDs", []uint32{uint32(pid)}),
		property("TasksMax", uint64(math.MaxUint64)), // or it is the manager's default
		property("DefaultDependencies", false),
		property("CollectMode", "inactive-or-failed"),
	}
	err := runJob("start "+s.unit, func(ctx context.Context, c *dbus.Conn, done chan<- string) error {
		_, err := c.StartTransientUnitContext(ctx, s.unit, "fail", properties, done)
		return err
	})
	if err != nil {
		return err
	}
	if s.dir == "" {
		return nil
	}
	// Out of the scope's own cgroup, whose children could have no limits else.
	if err := os.Mkdir(s.keeperDir(), 0o755); err != nil {
		return err
	}
	return cgroups.WriteCgroupProc(s.keeperDir(), pid)
}

func (s *scope) keeperDir() string { return filepath.Join(s.dir, "keeper") }

// startKeeper executes this binary with the name that init.go knows.
func (s *scope) startKeeper() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	s.hold = w
	keeper := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"contain-keeper"}, Env: []string{}, Dir: "/", Stdin: r}
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // away from the terminal's Ctrl-C
	if err := keeper.Start(); err != nil {
		return err
	}
	s.keeper = keeper.Process
	return nil
}

// stop ends the keeper and with it the scope, and waits until systemd is done
// with it.
func (s *scope) stop() error {
	if s.hold == nil {
		return nil
	}
	s.hold.Close()
	s.hold = nil // once is enough: libcontainer calls again after a failed start
	_, _ = s.keeper.Wait()
	if s.dir != "" {
		_ = cgroups.RemovePath(s.keeperDir())
	}
	err := stopUnit(s.unit)
	if s.dir == "" {
		return err
	}
	return then(err, cgroups.RemovePath(s.dir))
}

// scopeName is the unit of a container.
func scopeName(id string) string { return "contain-" + id + ".scope" }

// stopUnit has systemd stop a scope. That there is none is fine: its processes have
// ended, which was enough.
func stopUnit(unit string) error {
	err := runJob("stop "+unit, func(ctx context.Context, c *dbus.Conn, done chan<- string) error {
		_, err := c.StopUnitContext(ctx, unit, "replace", done)
		return err
	})
	var e godbus.Error
	if errors.As(err, &e) && e.Name == "org.freedesktop.systemd1.NoSuchUnit" {
		return nil
	}
	return err
}

func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}

// runJob queues a job of systemd's and waits for it to be done.
func runJob(what string, queue func(context.Context, *dbus.Conn, chan<- string) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), systemdTimeout)
	defer cancel()
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer conn.Close()
	done := make(chan string, 1)
	if err := queue(ctx, conn, done); err != nil {
		return fmt.Errorf("systemd: %s: %w", what, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd: %s: job ended as %q", what, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("systemd: %s: no answer within %s", what, systemdTimeout)
	}
}
