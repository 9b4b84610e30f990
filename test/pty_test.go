package test

import (
	"debug/elf"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// console is a terminal and who sits at it: a pty, what has appeared on it, and
// the session that runs there.
type console struct {
	*process
	master, slave *os.File
	screen        lockedBuffer
	seen          int           // how much of screen has been expected
	read          chan struct{} // closed when nothing more can appear
}

// newPty makes a pseudo terminal.
func newPty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	return os.NewFile(uintptr(fd), "master"), os.NewFile(peer, "slave")
}

// newConsole makes a pty on which nothing runs yet, and nobody looks at.
func newConsole(t *testing.T) *console {
	t.Helper()
	c := &console{read: make(chan struct{})}
	c.master, c.slave = newPty(t)
	t.Cleanup(func() {
		c.master.Close()
		c.slave.Close()
	})
	return c
}

// onConsole runs a command as the leader of a session on a new pty.
func onConsole(t *testing.T, name string, args ...string) *console {
	t.Helper()
	c := newConsole(t)
	c.run(t, exec.Command(name, args...))
	go c.look()
	return c
}

// run starts a command as the leader of the console's session. What of its
// descriptors 0 to 2 is not set is the terminal.
func (c *console) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	switch {
	case cmd.Stdin == nil:
	case cmd.Stdout == nil:
		cmd.SysProcAttr.Ctty = 1
	case cmd.Stderr == nil:
		cmd.SysProcAttr.Ctty = 2
	default:
		cmd.ExtraFiles = []*os.File{c.slave}
		cmd.SysProcAttr.Ctty = 3
	}
	if cmd.Stdin == nil {
		cmd.Stdin = c.slave
	}
	if cmd.Stdout == nil {
		cmd.Stdout = c.slave
	}
	if cmd.Stderr == nil {
		cmd.Stderr = c.slave
	}
	c.process = startCommand(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen: %q", c.screen.String())
		}
		if !c.ended.Load() {
			killContained(t)
			c.master.Close()
		}
	})
}

// killContained kills all processes in all containers, whatever they execute.
func killContained(t *testing.T) {
	t.Helper()
	for _, dir := range cgroupDirs(t) {
		members, _ := cgroups.GetPids(dir)
		for _, pid := range members {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// look collects what appears.
func (c *console) look() {
	defer close(c.read)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.master.Read(buf)
		c.screen.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// expect waits until text appears, after what was expected before.
func (c *console) expect(t *testing.T, text string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%q on the terminal", text), func() bool {
		i := strings.Index(c.screen.String()[c.seen:], text)
		if i >= 0 {
			c.seen += i + len(text)
		}
		return i >= 0
	})
}

// send types.
func (c *console) send(t *testing.T, text string) {
	t.Helper()
	if _, err := c.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// end waits for the session to end, and returns all that has appeared as stdout.
func (c *console) end(t *testing.T) result {
	t.Helper()
	r := c.wait(t)
	r.stdout = c.all(t)
	return r
}

// all returns all that has appeared, once the session has ended.
func (c *console) all(t *testing.T) string {
	t.Helper()
	c.slave.Close() // the last that was open
	waitFor(t, "all others to close the terminal", func() bool {
		select {
		case <-c.read:
			return true
		default:
			return false
		}
	})
	return c.screen.String()
}

// waitJob waits until the shell has given the terminal to a job. It says so before.
func (c *console) waitJob(t *testing.T) {
	t.Helper()
	raw, err := c.master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a job in the foreground", func() bool {
		var group int
		raw.Control(func(fd uintptr) { group, err = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
		return err == nil && group != c.cmd.Process.Pid
	})
}

// waitJobs asks the shell about its jobs until it says that one is in a state.
func (c *console) waitJobs(t *testing.T, state string) {
	t.Helper()
	waitFor(t, "a job that is "+state, func() bool {
		from := c.seen
		c.line(t, "jobs; echo li''sted", "listed")
		said := strings.Contains(c.screen.String()[from:c.seen], state)
		c.expect(t, prompt)
		return said
	})
}

// resize changes the size of the terminal's window.
func (c *console) resize(t *testing.T, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(c.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// modes returns the terminal's.
func (c *console) modes(t *testing.T) unix.Termios {
	t.Helper()
	modes, err := unix.IoctlGetTermios(int(c.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *modes
}

// setModes changes the terminal's.
func (c *console) setModes(t *testing.T, change func(*unix.Termios)) {
	t.Helper()
	modes := c.modes(t)
	change(&modes)
	if err := unix.IoctlSetTermios(int(c.slave.Fd()), unix.TCSETS, &modes); err != nil {
		t.Fatal(err)
	}
}

// What is typed for a terminal's special characters.
const ctrlC, ctrlD, ctrlZ, ctrlBackslash = "\x03", "\x04", "\x1a", "\x1c"

const prompt = "PROMPT> "

// atShell runs an interactive bash on a new pty and waits for its prompt. Its
// variable R begins a command line of contain with root.
func atShell(t *testing.T, root string) *console {
	t.Helper()
	return atThisShell(t, root, "bash", "--norc", "--noprofile")
}

func atThisShell(t *testing.T, root, shell string, args ...string) *console {
	t.Helper()
	c := newConsole(t)
	cmd := exec.Command(shell, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PS1=" + prompt, "TERM=dumb", "R=" + containPath + " -chroot " + root + " --", "HISTFILE="}
	c.run(t, cmd)
	go c.look()
	c.expect(t, prompt)
	return c
}

// line types a line and waits for the text that it brings about. That must not
// be in its echo.
func (c *console) line(t *testing.T, line, want string) {
	t.Helper()
	c.send(t, line+"\n")
	c.expect(t, want)
}

// key types one key and waits for the text that it brings about.
func (c *console) key(t *testing.T, key, want string) {
	t.Helper()
	c.send(t, key)
	c.expect(t, want)
}

// bye ends the shell, with the status of the last command.
func (c *console) bye(t *testing.T, code int) {
	t.Helper()
	c.send(t, "exit\n")
	if r := c.end(t); r.code() != code {
		t.Errorf("status %d, want %d", r.code(), code)
	}
}

// shellRootfs adds a busybox to a rootfs.
func shellRootfs(t *testing.T) string {
	t.Helper()
	const busybox = "/bin/busybox"
	file, err := elf.Open(busybox)
	if err != nil {
		t.Skip(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Skip(busybox + " is not static")
		}
	}
	root := rootfs(t)
	copyFile(t, busybox, filepath.Join(root, busybox), 0o755)
	for _, name := range []string{"sh", "cat", "stty"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// filler returns what the probe's verb fill prints.
func filler(count int) []byte {
	data := make([]byte, count)
	for i, x := 0, uint32(1); i < count; i++ {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	return data
}

// digest returns what the probe's verb digest prints of data.
func digest(data []byte) string {
	h := fnv.New64a()
	h.Write(data)
	return fmt.Sprintf("digest %d %016x", len(data), h.Sum64())
}

// waiting returns how many bytes a descriptor has to be read.
func waiting(t *testing.T, file *os.File) (n int) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// state is that of a process, one letter.
func state(pid int) string {
	text, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
	if err != nil {
		return ""
	}
	return field(string(text), "State")[:1]
}
