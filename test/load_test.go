package test

// Many starts at once, from one directory and on one bridge: not one fails, nothing is
// left, and no two that live at the same time have an id, an address or a hardware
// address in common. One at a time finds none of the races between them.

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// census is who lives, by what only one may have.
type census struct {
	mu      sync.Mutex
	present map[string]bool
	twice   []string
}

// enter notes that somebody has these, until leave.
func (c *census) enter(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if c.present[name] {
			c.twice = append(c.twice, name)
		}
		c.present[name] = true
	}
}

func (c *census) leave(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		delete(c.present, name)
	}
}

// loadAddress is the n-th address of the load's networks, by turns of both families.
func loadAddress(n int) string {
	if n%2 == 1 {
		return fmt.Sprintf("2001:db8:30::%x/64", n+16)
	}
	return fmt.Sprintf("172.30.%d.%d/16", 1+n/200, 1+n%200)
}

// live starts a program that says who it is, notes that while it lives, and ends it.
func (c *census) live(t *testing.T, root, address string) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := exec.Command(containPath, "-chroot", root, "-bridge", "br-load", "-network-address", address, "--",
		"probe", "show", "/proc/sys/kernel/hostname", "/sys/class/net/eth0/address")
	cmd.Stdout = w
	p := startCommand(t, cmd)
	w.Close()
	r.SetReadDeadline(time.Now().Add(patience))
	names := []string{address}
	for lines := bufio.NewScanner(r); lines.Scan() && lines.Text() != "ready"; {
		names = append(names, lines.Text())
	}
	c.enter(names)
	defer c.leave(names)
	p.signal(t, syscall.SIGTERM)
	if r := p.wait(t); r.status != syscall.WaitStatus(syscall.SIGTERM) || r.stderr != "" || len(names) != 3 {
		t.Errorf("wait status %#x, stderr %q, names %q", r.status, r.stderr, names)
	}
}

// inNoHurry has a test wait longer: of many at once each takes long.
func inNoHurry(t *testing.T) {
	usual := patience
	t.Cleanup(func() { patience = usual })
	patience = min(20*patience, 5*time.Minute)
}

// F25, F31: a thousand starts, more and more of them at once. Who ends one begins the
// next with the same address, so that there are always as many.
func TestLoad(t *testing.T) {
	leavesNothing(t)
	inNoHurry(t)
	bridge(t, "br-load", "172.30.0.1/16", "2001:db8:30::1/64")
	root := rootfs(t)
	for _, load := range []struct{ parallel, starts int }{{2, 150}, {16, 250}, {100, 300}, {200, 300}} {
		t.Run(itoa(load.parallel), func(t *testing.T) {
			c := census{present: map[string]bool{}}
			workers(load.parallel, often(load.starts), func(worker, _ int) { c.live(t, root, loadAddress(worker)) })
			if len(c.twice) > 0 {
				t.Errorf("had by two at the same time: %q", c.twice)
			}
			noContainers(t, "the load")
		})
	}
}

// F37: programs that end at once, many at a time: each status is that of its own.
func TestProgramsThatEndAtOnce(t *testing.T) {
	leavesNothing(t)
	inNoHurry(t)
	root := rootfs(t)
	workers(16, often(250), func(_, i int) {
		contain(t, "-chroot", root, "--", "probe", "exit", itoa(i%256)).want(t, i%256, "")
	})
	noContainers(t, "the load")
}
