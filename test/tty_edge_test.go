package test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What was typed before contain started is the program's, with the ends of files
// among it, and is echoed once.
func TestTypedBeforeTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for typed, want := range map[string]string{
		"abc\n" + ctrlD:       "abc\r\nready\r\nABC\r\n",
		ctrlD:                 "ready\r\n",
		"abc" + ctrlD + ctrlD: "abcready\r\nABC",
	} {
		c := newConsole(t)
		c.send(t, typed)
		go c.look()
		c.expect(t, want[:strings.Index(want, "ready")]) // the echo
		c.run(t, exec.Command(containPath, "-chroot", root, "--", "probe", "upper"))
		c.end(t).want(t, 0, want)
	}
}

// A terminal on the outputs only, which the program gets as it is, is as before at
// the end: its modes, and the flags that all who have it open share.
func TestLentTerminalIsGivenBack(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, end := range []struct {
		program []string
		sig     syscall.Signal
	}{{[]string{"exit", "0"}, 0}, {[]string{"wait"}, syscall.SIGTERM}} {
		c := newConsole(t)
		now := func() (unix.Termios, int) {
			flags, err := unix.FcntlInt(c.slave.Fd(), unix.F_GETFL, 0)
			if err != nil {
				t.Fatal(err)
			}
			return c.modes(t), flags
		}
		modes, flags := now()
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		cmd := exec.Command(containPath, append([]string{"-chroot", root, "--", "probe", "meddle", "1", "/bin/probe"}, end.program...)...)
		cmd.Stdin = null
		c.run(t, cmd)
		go c.look()
		if end.sig != 0 {
			c.expect(t, "ready")
			if m, f := now(); m == modes || f == flags {
				t.Error("the program has changed nothing")
			}
			c.signal(t, end.sig)
		}
		r := c.wait(t)
		if m, f := now(); m != modes || f != flags {
			t.Errorf("modes %+v, were %+v; flags %#x, were %#x", m, modes, f, flags)
		}
		if r.status.Signaled() != (end.sig != 0) {
			t.Errorf("wait status %#x", r.status)
		}
	}
}

// A panic ends contain also if nobody takes what the program has printed.
func TestPanicWithoutAReader(t *testing.T) {
	leavesNothing(t)
	c := newConsole(t)
	before := c.modes(t)
	cmd := exec.Command(alteredPath, "-chroot", rootfs(t), "--", "probe", "fill", "1000000")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	c.run(t, cmd)
	waitFor(t, "the program to begin", func() bool { return waiting(t, c.master) > 0 })
	c.signal(t, syscall.SIGUSR2)
	r := c.wait(t)
	if r.code() != 125 || !strings.Contains(errs.String(), "SIGUSR2") {
		t.Errorf("status %d, %q", r.code(), errs.String())
	}
	if after := c.modes(t); after != before {
		t.Errorf("modes %+v, were %+v", after, before)
	}
}

// fillUnread runs a program that prints more than a terminal holds, and ends, after
// SIGUSR1. It returns when the program has gone, and nobody has read.
func fillUnread(t *testing.T, count int) *console {
	t.Helper()
	c := newConsole(t)
	c.run(t, exec.Command(containPath, "-chroot", rootfs(t), "--", "probe", "raw", "/bin/probe", "after", "10", "/bin/probe", "fill", itoa(count)))
	waitFor(t, "the program to begin", func() bool { return waiting(t, c.master) > 0 })
	c.signal(t, syscall.SIGUSR1)
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	return c
}

// A signal that does not ask the program to end leaves its output all the time.
func TestReaderComesLate(t *testing.T) {
	leavesNothing(t)
	const count = 16 << 10
	c := fillUnread(t, count)
	time.Sleep(2500 * time.Millisecond) // longer than who was asked to end waits
	go c.look()
	want := "ready\n" + string(filler(count))
	if r := c.end(t); r.code() != 0 || r.stdout != want {
		t.Errorf("status %d, %d bytes of %d", r.code(), len(r.stdout), len(want))
	}
}

// SIGTERM after the program's end ends contain, as the program ended.
func TestTermAfterTheEnd(t *testing.T) {
	leavesNothing(t)
	c := fillUnread(t, 16<<10)
	children := "/proc/" + itoa(c.cmd.Process.Pid) + "/task/" + itoa(c.cmd.Process.Pid) + "/children"
	waitFor(t, "the init to be waited for", func() bool {
		text, err := os.ReadFile(children)
		return err == nil && len(text) == 0
	})
	c.signal(t, syscall.SIGTERM)
	if r := c.wait(t); r.code() != 0 {
		t.Errorf("status %d", r.code())
	}
}

// The end of standard input reaches a program that has turned lines off, as the key
// for it.
func TestEndOfInputWithoutLines(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for input, want := range map[string]string{"": "", "a line\n": "A LINE\r\n", "a line\nand half": "A LINE\r\nAND HALF"} {
		in, toProgram, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(containPath, "-chroot", root, "-tty=always", "--", "probe", "keys")
		cmd.Stdin = in
		p := startCommand(t, cmd)
		in.Close()
		p.waitLine(t, "ready\r")
		io.WriteString(toProgram, input)
		toProgram.Close()
		p.wait(t).want(t, 0, "ready\r\n"+want)
	}
}

// -tty=always with a terminal to read from and another standard output: what the
// program prints, by whichever descriptor, goes to that and not to the terminal.
func TestTerminalToAFile(t *testing.T) {
	leavesNothing(t)
	path := filepath.Join(t.TempDir(), "out")
	c := onConsole(t, "sh", "-c", `exec "$@" </dev/tty >`+path, "sh", containPath, "-chroot", rootfs(t), "-tty=always", "--", "probe", "upper")
	contents := func() string {
		text, _ := os.ReadFile(path)
		return string(text)
	}
	waitFor(t, "the program to begin", func() bool { return contents() == "ready\r\n" })
	c.send(t, "hello\n")
	waitFor(t, "what it prints", func() bool { return strings.HasSuffix(contents(), "HELLO\r\n") })
	c.send(t, ctrlD)
	c.end(t).want(t, 0, "")
	if got, want := contents(), "ready\r\nhello\r\nHELLO\r\n"; got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
}

// A key is for the script that contain is a command of only if it is the caller's
// own, and typed for the program's own process group.
func TestKeysThatAreNotForTheScript(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	for program, key := range map[string]string{
		"interrupt c /bin/probe wait":   "c",
		"interrupt c /bin/probe line 2": ctrlC + "\n",
		"job":                           ctrlC,
	} {
		c.line(t, "export R; sh -c '$R probe "+program+"; echo af\"\"ter=$?'", "ready")
		c.key(t, key, "after=130")
		c.expect(t, prompt)
	}
	c.bye(t, 0)
}

// A process outside of the container that was given the pty does not keep contain,
// whether it prints nothing or without end.
func TestPtyHeldOutside(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, way := range []string{"quiet", "noisy"} {
		holder := startCommand(t, exec.Command(probePath, "holdpty", filepath.Join(root, way), way))
		t.Cleanup(func() { holder.cmd.Process.Kill() })
		holder.waitLine(t, "ready")
		c := newConsole(t)
		c.run(t, exec.Command(containPath, "-chroot", root, "--", "probe", "hand", "/"+way))
		go io.Copy(io.Discard, c.master)
		if r := c.wait(t); r.code() != 0 {
			t.Errorf("%s: status %d", way, r.code())
		}
	}
}

// What was printed last arrives however slow the reader: the end of the program,
// and of its init, takes nothing of it away.
func TestLastBytes(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	const rounds, parallel = 20, 4
	for i := range often(rounds) {
		count := 4000 * (i + 1) / rounds
		var cs [parallel]*console
		for j := range cs {
			cs[j] = newConsole(t)
			cs[j].run(t, exec.Command(containPath, "-chroot", root, "--", "probe", "raw", "/bin/probe", "fill", itoa(count)))
		}
		for _, c := range cs {
			r := c.wait(t)
			go c.look()
			if out := c.all(t); r.code() != 0 || out != string(filler(count)) {
				t.Errorf("status %d, %d bytes of %d", r.code(), len(out), count)
			}
		}
	}
}

// A program that was in the foreground has to ask for it again after a stop.
func TestReadsAfterAStop(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "set -o posix; echo o''k", "ok")
	c.expect(t, prompt)
	c.line(t, "$R probe upper", "ready")
	c.line(t, "hello", "HELLO")
	c.key(t, ctrlZ, "Stopped(SIGTSTP)")
	c.expect(t, prompt)
	c.line(t, "bg; echo o''k", "ok")
	c.expect(t, prompt)
	c.waitJobs(t, "Stopped(SIGTTIN)")
	c.line(t, "fg", "probe upper")
	c.line(t, "again", "AGAIN")
	c.send(t, ctrlD)
	c.expect(t, prompt)
	c.bye(t, 0)
}

// With "stty tostop" a program in the background stops before it prints.
func TestStopsBeforeItPrints(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "set -o posix; stty tostop; echo o''k", "ok")
	c.expect(t, prompt)
	c.line(t, "$R probe args text &", prompt)
	c.waitJobs(t, "Stopped(SIGTTOU)")
	if strings.Contains(c.screen.String(), "4:text") {
		t.Error("has printed before")
	}
	c.line(t, "fg", "4:text\r\n")
	c.expect(t, prompt)
	c.bye(t, 0)
}

// A program that began in the background has the modes of the caller's terminal
// once it comes to the foreground.
func TestModesInTheForeground(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, shellRootfs(t))
	c.line(t, "stty intr ^X; echo o''k", "ok")
	c.expect(t, prompt)
	c.line(t, "$R sh -c 'probe upper; stty -a' &", prompt)
	c.waitJobs(t, "Stopped")
	c.line(t, "fg", "stty -a")
	c.line(t, "hello", "HELLO")
	c.key(t, ctrlD, "intr = ^X")
	c.expect(t, prompt)
	c.bye(t, 0)
}

// A shell that leaves the modes alone has its own while contain is stopped, and
// after the end.
func TestModesWhileStopped(t *testing.T) {
	leavesNothing(t)
	c := atThisShell(t, rootfs(t), "sh", "-i")
	before := c.modes(t)
	c.line(t, "$R probe upper", "ready")
	for range 3 {
		c.line(t, "hello", "HELLO")
		c.key(t, ctrlZ, "Stopped")
		c.expect(t, prompt)
		if got := c.modes(t); got != before {
			t.Errorf("stopped: modes %+v, were %+v", got, before)
		}
		c.line(t, "fg", "probe upper")
		c.waitJob(t)
	}
	c.send(t, ctrlC)
	c.expect(t, prompt)
	if got := c.modes(t); got != before {
		t.Errorf("modes %+v, were %+v", got, before)
	}
	c.bye(t, 130)
}

// After SIGSTOP at a shell that leaves the modes alone, in the background and in
// front again, contain still knows which to give back.
func TestModesAfterForce(t *testing.T) {
	leavesNothing(t)
	c := atThisShell(t, rootfs(t), "sh", "-i")
	before := c.modes(t)
	c.line(t, "$R probe upper", "ready")
	c.line(t, "first", "FIRST")
	raw := c.modes(t)
	syscall.Kill(c.job(t), syscall.SIGSTOP)
	c.expect(t, prompt)
	c.line(t, "bg", prompt)
	if c.modes(t) != raw {
		t.Skip("this shell changes the modes")
	}
	c.line(t, "fg", "probe upper")
	c.line(t, "second", "SECOND")
	c.send(t, ctrlD)
	c.expect(t, prompt)
	if after := c.modes(t); after != before {
		t.Errorf("modes %+v, were %+v", after, before)
	}
	c.bye(t, 0)
}

// job returns the pid of the contain whose program runs.
func (c *console) job(t *testing.T) int {
	t.Helper()
	pid := initPID(t)
	for range 2 { // the container's init, contain
		text, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		if pid, err = strconv.Atoi(field(string(text), "PPid")); err != nil {
			t.Fatal(err)
		}
	}
	return pid
}

// A terminal's Ctrl-Z that contain gets itself stops all of the program, and then
// contain; the terminal is as after a program without contain.
func TestStopKeyWithoutAPty(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, shellRootfs(t))
	c.line(t, probePath+" wait", "ready")
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	want := c.modes(t)
	c.line(t, "kill -9 %1; wait; echo o''k", "ok")
	c.expect(t, prompt)
	c.line(t, "${R% --} -tty=never -- sh -c 'probe wait | probe wait'", "ready")
	waitFor(t, "both programs", func() bool { return len(programs(t)) == 2 })
	for range 3 {
		c.key(t, ctrlZ, "Stopped")
		c.expect(t, prompt)
		for _, pid := range programs(t) {
			waitFor(t, "both programs to stop", func() bool { return state(pid) == "T" })
		}
		if got := c.modes(t); got != want {
			t.Errorf("modes %+v, want %+v", got, want)
		}
		c.line(t, "fg", "probe wait")
		for _, pid := range programs(t) {
			waitFor(t, "both programs to go on", func() bool { return state(pid) == "S" })
		}
	}
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.bye(t, 130)
}

// Of stops that follow each other at once none is lost.
func TestStopsInQuickSuccession(t *testing.T) {
	leavesNothing(t)
	const count = 20
	p := asJob(t, containPath, "-chroot", rootfs(t), "--", "probe", "stops", itoa(count))
	want := ""
	for i := range count {
		want += itoa(i+1) + "\n"
		sig := p.nextStop(t)
		for sig == 0 { // the one before was resumed
			sig = p.nextStop(t)
		}
		if got := p.stdout.String(); sig != syscall.SIGSTOP || got != want {
			t.Fatalf("stopped by %d, after %q; want %q", sig, got, want)
		}
		p.signal(t, syscall.SIGCONT)
	}
	p.wait(t).want(t, 0, want+"done\n")
}

// In an orphaned process group in the background of a terminal, who asks for input
// gets the end of it.
func TestOrphanAsksForInput(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "export R; bash -c 'set -m; $R probe ignore 1 /bin/probe after 10 /bin/probe upper & exec sleep 1000'", "ready")
	pid := c.job(t)
	c.send(t, ctrlC) // its parent goes
	c.expect(t, prompt)
	syscall.Kill(pid, syscall.SIGUSR1)
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	c.bye(t, 130)
}
