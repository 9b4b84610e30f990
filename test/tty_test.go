package test

import (
	"bytes"
	"io"
	"math/rand/v2"
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

// What the probe's verb tty prints where all is one terminal, and where none is.
const (
	allTerminal = "0 /dev/pts/0\n1 /dev/pts/0\n2 /dev/pts/0\n/dev/tty\n"
	noTerminal  = "0 none\n1 none\n2 none\n/dev/tty: No such device or address\n"
)

// crlf is what a terminal makes of lines.
func crlf(lines string) string { return strings.ReplaceAll(lines, "\n", "\r\n") }

// With a terminal on standard input the program has one of its own, and its outputs
// are that if they were that terminal; others are left alone.
func TestTerminalOfItsOwn(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	c := onConsole(t, containPath, "-chroot", root, "--", "probe", "tty")
	c.end(t).want(t, 0, crlf(allTerminal))

	var out, errs bytes.Buffer
	c = newConsole(t)
	cmd := exec.Command(containPath, "-chroot", root, "--", "probe", "tty")
	cmd.Stdout, cmd.Stderr = &out, &errs
	c.run(t, cmd)
	go c.look()
	c.end(t).want(t, 0, "")
	if want := "0 /dev/pts/0\n1 none\n2 none\n/dev/tty\n"; out.String() != want || errs.String() != "" {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
}

// Outputs that are no terminal are byte-exact.
func TestRedirectedOutputIsDirect(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	path := filepath.Join(t.TempDir(), "out")
	for _, stdout := range []bool{true, false} {
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		c := newConsole(t)
		cmd := exec.Command(containPath, "-chroot", root, "--", "probe", "fill", "100000")
		want := string(filler(100000))
		if cmd.Stdout = file; !stdout {
			cmd = exec.Command(containPath, "-chroot", root, "--", "probe", "bad")
			cmd.Stderr = file
			want = "probe: no such verb, or too few arguments\n"
		}
		c.run(t, cmd)
		go c.look()
		c.end(t).want(t, map[bool]int{true: 0, false: 200}[stdout], "")
		file.Close()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("stdout %v: %d bytes, %v", stdout, len(got), err)
		}
	}
}

// A terminal that is not standard input is none that the program gets, unless
// -tty says so.
func TestNoTerminal(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	contain(t, "-chroot", root, "--", "probe", "tty").want(t, 1, noTerminal)
	contain(t, "-chroot", root, "-tty", "always", "--", "probe", "tty").want(t, 0, crlf(allTerminal))

	c := newConsole(t)
	cmd := exec.Command(containPath, "-chroot", root, "--", "probe", "tty")
	cmd.Stdin = strings.NewReader("")
	c.run(t, cmd)
	go c.look()
	c.end(t).want(t, 1, crlf("0 none\n1 nameless\n2 nameless\n/dev/tty: No such device or address\n"))

	c = onConsole(t, containPath, "-chroot", root, "-tty=never", "--", "probe", "tty")
	c.end(t).want(t, 1, crlf("0 nameless\n1 nameless\n2 nameless\n/dev/tty: No such device or address\n"))
}

// -tty=always makes a terminal of what is none: lines, the end of the input, also
// behind half a line, and much of it.
func TestTerminalOfPipes(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	run := func(input string, args ...string) result {
		cmd := exec.Command(containPath, append([]string{"-chroot", root, "-tty=always", "--", "probe"}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		return startCommand(t, cmd).wait(t)
	}
	run("", "copy").want(t, 0, "")
	run("hello\n", "copy").want(t, 0, "hello\r\nhello\r\n")
	run("half", "copy").want(t, 0, "halfhalf")
	text := strings.Repeat("a line of a text that is longer than the buffer\n", 1500)
	if r := run(text, "digest", "1000000"); r.code() != 0 || !strings.HasSuffix(r.stdout, digest([]byte(text))+"\r\n") {
		t.Errorf("status %d, stdout ends with %q", r.code(), r.stdout[max(0, len(r.stdout)-100):])
	}
}

// TERM is about the terminal, and passed on only with one.
func TestTermVariable(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	t.Setenv("TERM", "vt220")
	for mode, want := range map[string]bool{"auto": true, "never": false, "always": true} {
		r := onConsole(t, containPath, "-chroot", root, "-tty", mode, "--", "probe", "env").end(t)
		if got := strings.Contains(r.stdout, "TERM=vt220\r\n"); got != want {
			t.Errorf("-tty=%s: %q", mode, r.stdout)
		}
	}
	if r := contain(t, "-chroot", root, "--", "probe", "env"); strings.Contains(r.stdout, "TERM=") {
		t.Errorf("without a terminal: %q", r.stdout)
	}
	os.Unsetenv("TERM")
	if r := onConsole(t, containPath, "-chroot", root, "--", "probe", "env").end(t); strings.Contains(r.stdout, "TERM=") {
		t.Errorf("without TERM: %q", r.stdout)
	}
}

// What is typed to interrupt reaches all of the program, whatever of the terminal
// contain has.
func TestInterruptingKeys(t *testing.T) {
	leavesNothing(t)
	root := shellRootfs(t)
	for _, mode := range []string{"auto", "never", "always", "auto </dev/null"} {
		interrupt(t, root, mode, ctrlC, syscall.SIGINT, "ready", "probe", "wait")
		interrupt(t, root, mode, ctrlBackslash, syscall.SIGQUIT, "ready", "probe", "wait")
		interrupt(t, root, mode, ctrlC, syscall.SIGINT, "ready", "sh", "-c", "probe wait; echo AFTER")
		interrupt(t, root, mode, ctrlC, syscall.SIGINT, "READY", "sh", "-c", "probe wait | (probe upper; probe wait); echo AFTER")
	}
}

// interrupt types key once a program is ready, and wants it to end by sig.
func interrupt(t *testing.T, root, mode, key string, sig syscall.Signal, ready string, args ...string) {
	t.Helper()
	c := newConsole(t)
	mode, null, _ := strings.Cut(mode, " <")
	cmd := exec.Command(containPath, append([]string{"-chroot", root, "-tty", mode, "--"}, args...)...)
	if null != "" {
		file, err := os.Open(null)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd.Stdin = file
	}
	c.run(t, cmd)
	go c.look()
	c.expect(t, ready)
	c.send(t, key)
	if r := c.end(t); !r.status.Signaled() || r.status.Signal() != sig || strings.Contains(r.stdout, "AFTER") {
		t.Errorf("%q, -tty=%s %s: wait status %#x, %q", args, mode, null, r.status, r.stdout)
	}
}

// Ctrl-Z, jobs, fg, bg and Ctrl-C at a shell.
func TestStopKey(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "$R probe upper", "ready")
	for range 3 {
		c.line(t, "hello", "HELLO")
		c.key(t, ctrlZ, "Stopped")
		c.expect(t, prompt)
		if modes := c.modes(t); modes.Iflag&unix.ICRNL == 0 && modes.Oflag&unix.OPOST == 0 {
			t.Errorf("modes of the stopped contain's terminal: %+v", modes)
		}
		c.line(t, "jobs", "Stopped")
		c.expect(t, prompt)
		c.line(t, "fg", "probe upper")
		c.line(t, "again", "AGAIN")
	}
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=130")
	c.expect(t, prompt)
	c.line(t, "jobs; echo no mor''e", "no more")
	if strings.Count(c.screen.String(), "Stopped") != 6 {
		t.Error("stopped at another time, too")
	}
	c.expect(t, prompt)
	c.bye(t, 0)
}

// bg: a program that does not read runs on.
func TestStopKeyThenBackground(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "$R probe wait", "ready")
	pid := initPID(t)
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	if s := state(pid); s != "T" {
		t.Errorf("the program's state is %s", s)
	}
	c.line(t, "bg", prompt)
	waitFor(t, "the program to go on", func() bool { return state(pid) == "S" })
	c.line(t, "jobs", "Running")
	c.expect(t, prompt)
	c.line(t, "fg", "probe wait")
	c.waitJob(t)
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	c.line(t, "bg", prompt)
	c.line(t, "fg", "probe wait")
	c.waitJob(t)
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=130")
	c.expect(t, prompt)
	c.bye(t, 0)
}

// A program that reads from the background stops, and reads once it is in front.
func TestReadsInTheBackground(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "set -o posix; echo o''k", "ok") // so that jobs tells the signal
	c.expect(t, prompt)
	c.line(t, "$R probe upper &", prompt)
	for range 3 {
		c.waitJobs(t, "Stopped(SIGTTIN)")
		c.line(t, "bg; echo o''k", "ok")
		c.expect(t, prompt)
	}
	c.waitJobs(t, "Stopped(SIGTTIN)")
	c.line(t, "fg", "probe upper")
	c.line(t, "hello", "HELLO")
	c.send(t, ctrlD)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=0")
	c.expect(t, prompt)
	c.bye(t, 0)
}

// What a program prints before it stops is seen before contain stops.
func TestPrintsBeforeAStop(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	for range often(40) {
		c.line(t, "$R probe upper &", "ready")
		c.line(t, "kill $!; kill -CONT $!; wait $!; echo do''ne", "done")
		c.expect(t, prompt)
	}
	c.bye(t, 0)
}

// A program that does not read runs in the background, and prints; the shell has
// the terminal.
func TestPrintsInTheBackground(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "$R probe signals 2 &", "ready\r\n")
	c.line(t, "echo o''k", "ok")
	c.line(t, "kill -USR1 %1", "10\r\n")
	c.line(t, "kill -USR2 %1", "12\r\n")
	c.line(t, "wait; echo st''=$?", "st=0")
	if strings.Contains(c.screen.String(), "Stopped") {
		t.Error("stopped")
	}
	c.expect(t, prompt)
	c.bye(t, 0)
}

// In a pipeline contain leaves the terminal to the others, unless its program
// reads from it.
func TestPipelineAndTheTerminal(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "$R probe wait | (read x; echo $x; read y </dev/tty; echo go''t $y; cat)", "ready")
	if modes := c.modes(t); modes.Lflag&unix.ICANON == 0 || modes.Lflag&unix.ISIG == 0 || modes.Oflag&unix.OPOST == 0 {
		t.Errorf("modes %+v", modes)
	}
	c.line(t, "this", "got this")
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=130")
	c.expect(t, prompt)
	c.line(t, "$R probe fill 1000 | head -c 1 | wc -c; echo st''=${PIPESTATUS[*]}", "st=0 0 0")
	c.expect(t, prompt)
	c.line(t, "$R probe upper | cat", "ready")
	c.line(t, "hello", "HELLO")
	c.send(t, ctrlD)
	c.expect(t, prompt)
	c.bye(t, 0)
}

// Ctrl-Z and Ctrl-C are for the whole pipeline, also when contain's program reads
// from the terminal.
func TestKeysAreForThePipeline(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "$R probe upper | cat", "ready")
	c.line(t, "hello", "HELLO")
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	c.line(t, "fg", "cat")
	c.line(t, "again", "AGAIN")
	c.send(t, ctrlD)
	c.expect(t, prompt)
	c.line(t, "$R probe upper | (cat; "+probePath+" wait)", "ready")
	c.line(t, "hello", "HELLO")
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.bye(t, 130)
}

// The job control of a contained shell is its own.
func TestJobsOfAContainedShell(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, shellRootfs(t))
	c.line(t, "$R sh -i", "/ # ")
	for range 2 {
		c.line(t, "probe upper", "ready")
		c.line(t, "hello", "HELLO")
		c.key(t, ctrlZ, "Stopped")
		c.expect(t, "/ # ")
		c.line(t, "jobs", "Stopped")
		c.expect(t, "/ # ")
		c.line(t, "fg", "probe upper")
		c.line(t, "again", "AGAIN")
		c.send(t, ctrlC)
		c.expect(t, "/ # ")
		c.line(t, "echo st''=$?", "st=130")
		c.expect(t, "/ # ")
	}
	c.line(t, "exit 3", prompt)
	c.line(t, "echo st''=$?", "st=3")
	c.expect(t, prompt)
	c.bye(t, 0)
}

// The window's size is the program's, at the start, when it changes, and when it
// has changed while contain was stopped.
func TestWindowSize(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	c := newConsole(t)
	c.resize(t, 50, 132)
	c.run(t, exec.Command(containPath, "-chroot", root, "--", "probe", "winch"))
	go c.look()
	c.expect(t, "size 50 132\r\n")
	c.resize(t, 30, 100)
	c.expect(t, "size 30 100\r\n")
	c.resize(t, 31, 101)
	c.expect(t, "size 31 101\r\n")
	c.signal(t, syscall.SIGTERM)
	c.end(t).want(t, 0, "size 50 132\r\nsize 30 100\r\nsize 31 101\r\n") // each once

	c = atShell(t, root)
	c.resize(t, 40, 90)
	c.line(t, "$R probe winch", "size 40 90\r\n")
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	c.resize(t, 41, 91)
	c.line(t, "fg", "size 41 91\r\n")
	c.signalJob(t, "TERM")
	c.bye(t, 0)
}

// signalJob stops the job in the foreground, sends it a signal, and waits for its
// end.
func (c *console) signalJob(t *testing.T, sig string) {
	t.Helper()
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	c.line(t, "kill -"+sig+" %1; fg", prompt)
}

// ttyEndings are ways in which contain ends on a terminal: arguments, what is done
// once the program says that it is ready, and $?.
var ttyEndings = map[string]struct {
	args []string
	act  func(*testing.T, *console)
	code int
}{
	"exit 0":         {args: []string{"--", "probe", "exit", "0"}},
	"exit 7":         {args: []string{"--", "probe", "exit", "7"}, code: 7},
	"segv":           {args: []string{"--", "probe", "segv"}, code: 139},
	"not found":      {args: []string{"--", "nosuch"}, code: 127},
	"a bad flag":     {args: []string{"-nosuch"}, code: 125},
	"not executable": {args: []string{"--", "/bin"}, code: 126},
	"no bridge":      {args: []string{"-network-address", "10.9.8.7/24", "-bridge", "nosuch", "--", "probe", "exit", "0"}, code: 125},
	"memory limit":   {args: []string{"-memory-limit", "8M", "--", "probe", "hog", "67108864"}, code: 137},
	"raw":            {args: []string{"--", "probe", "raw", "/bin/probe", "exit", "3"}, code: 3},
	"Ctrl-C":         {args: []string{"--", "probe", "wait"}, act: func(t *testing.T, c *console) { c.send(t, ctrlC) }, code: 130},
	"SIGTERM":        {args: []string{"--", "probe", "wait"}, act: func(t *testing.T, c *console) { c.signal(t, syscall.SIGTERM) }, code: 143},
	"SIGHUP":         {args: []string{"--", "probe", "wait"}, act: func(t *testing.T, c *console) { c.signal(t, syscall.SIGHUP) }, code: 129},
	"program killed": {args: []string{"--", "probe", "wait"}, act: func(t *testing.T, c *console) { syscall.Kill(initPID(t), syscall.SIGKILL) }, code: 137},
	"init killed": {args: []string{"--", "probe", "wait"}, act: func(t *testing.T, c *console) {
		pid, _ := strconv.Atoi(field(readStatus(t, initPID(t)), "PPid"))
		syscall.Kill(pid, syscall.SIGKILL)
	}, code: 137},
	"panic":       {args: []string{"--", "probe", "wait"}, act: func(t *testing.T, c *console) { c.signal(t, syscall.SIGUSR2) }, code: 125},
	"-init=false": {args: []string{"-init=false", "--", "probe", "exit", "4"}, code: 4},
}

// However contain ends, the caller's terminal is as it was.
func TestTerminalIsGivenBack(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for name, e := range ttyEndings {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			c.setModes(t, func(m *unix.Termios) {
				m.Cc[unix.VERASE], m.Iflag = 8, m.Iflag|unix.IUTF8
			})
			before := c.modes(t)
			binary := containPath
			if name == "panic" {
				binary = alteredPath
			}
			c.run(t, exec.Command(binary, append([]string{"-chroot", root}, e.args...)...))
			go c.look()
			if e.act != nil {
				c.expect(t, "ready")
				if c.modes(t) == before {
					t.Error("the terminal is not in raw mode")
				}
				e.act(t, c)
			}
			r := c.wait(t)
			if after := c.modes(t); after != before {
				t.Errorf("modes %+v, were %+v", after, before)
			}
			flags, err := unix.FcntlInt(c.slave.Fd(), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("flags of standard input %#x, %v", flags, err)
			}
			if out := c.all(t); r.code() != e.code {
				t.Errorf("status %d, want %d; %q", r.code(), e.code, out)
			}
		})
	}
}

// The paste of a large text, and bytes of all values, arrive unchanged.
func TestTypedBytes(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	lines := []byte(strings.Repeat("a line of a large text that is pasted\r", 1700))
	for _, data := range [][]byte{filler(200000), lines} {
		c := onConsole(t, containPath, "-chroot", root, "--", "probe", "raw", "/bin/probe", "digest", itoa(len(data)))
		c.expect(t, "ready\n")
		c.send(t, string(data))
		c.end(t).want(t, 0, "ready\n"+digest(data)+"\n")
	}
	text := strings.Repeat("a line of a large text that is pasted\n", 1700)
	c := onConsole(t, containPath, "-chroot", root, "--", "probe", "digest", itoa(len(text)))
	c.expect(t, "ready\r\n")
	c.send(t, text)
	if r := c.end(t); r.code() != 0 || !strings.HasSuffix(r.stdout, digest([]byte(text))+"\r\n") {
		t.Errorf("status %d, %q", r.code(), r.stdout[max(0, len(r.stdout)-100):])
	}
}

// What a program prints in raw mode arrives unchanged, however much it is.
func TestPrintedBytes(t *testing.T) {
	leavesNothing(t)
	const count = 8 << 20
	r := onConsole(t, containPath, "-chroot", rootfs(t), "--", "probe", "raw", "/bin/probe", "fill", itoa(count)).end(t)
	if want := filler(count); r.code() != 0 || r.stdout != string(want) {
		t.Errorf("status %d, %s; want %s", r.code(), digest([]byte(r.stdout)), digest(want))
	}
}

// Somebody who begins to look when the program has ended, and reads in small
// pieces, sees all of it.
func TestSlowReader(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	const count = 16 << 10 // less than the two terminals hold, more than one
	for range 3 {
		c := newConsole(t)
		c.run(t, exec.Command(containPath, "-chroot", root, "--", "probe", "raw", "/bin/probe", "fill", itoa(count)))
		waitFor(t, "the program to begin", func() bool { return waiting(t, c.master) > 0 })
		waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
		var got []byte
		for buf := make([]byte, 100); len(got) < count; {
			c.master.SetReadDeadline(time.Now().Add(patience))
			n, err := c.master.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
		}
		if r := c.wait(t); r.code() != 0 || !bytes.Equal(got, filler(count)) {
			t.Errorf("status %d, %s; want %s", r.code(), digest(got), digest(filler(count)))
		}
	}
}

// The last line before the end is always delivered.
func TestLastLine(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	const rounds, parallel = 25, 8
	for range rounds {
		var cs [parallel]*console
		for i := range cs {
			cs[i] = onConsole(t, containPath, "-chroot", root, "--", "probe", "args", "last")
		}
		for _, c := range cs {
			c.end(t).want(t, 0, "4:last\r\n")
		}
	}
}

// A process that the program leaves behind with the terminal does not keep contain.
func TestOrphanHoldsTheTerminal(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	onConsole(t, containPath, "-chroot", root, "--", "probe", "orphan").end(t).want(t, 5, "leader\r\n")
	contain(t, "-chroot", root, "-tty=always", "--", "probe", "orphan").want(t, 5, "leader\r\n")
}

// cpuTime returns the time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')'):]))
	user, _ := strconv.Atoi(fields[12])
	system, _ := strconv.Atoi(fields[13])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// What goes through pipes does not go through contain, also where there is a
// terminal on another descriptor.
func TestPipesCostNothing(t *testing.T) {
	leavesNothing(t)
	c := newConsole(t)
	const block, blocks = 1 << 20, 256
	in, toProgram, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromProgram, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(containPath, "-chroot", rootfs(t), "--", "probe", "copy")
	cmd.Stdin, cmd.Stdout = in, out
	c.run(t, cmd)
	go c.look()
	in.Close()
	out.Close()
	data, got := filler(block), make([]byte, block)
	pump := func(n int) {
		go func() {
			for range n {
				toProgram.Write(data)
			}
		}()
		for i := range n {
			if _, err := io.ReadFull(fromProgram, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("block %d: %v, or other bytes", i, err)
			}
		}
	}
	pump(1) // it has begun
	before := cpuTime(t, c.cmd.Process.Pid)
	pump(blocks)
	if used := cpuTime(t, c.cmd.Process.Pid) - before; used >= 100*time.Millisecond {
		t.Errorf("contain has used %v", used)
	}
	toProgram.Close()
	c.end(t).want(t, 0, "")
}

// A program cannot type into its caller's terminal, be it passed on or not.
func TestTypesNothingForTheCaller(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, mode := range []string{"auto", "never", "always"} {
		for _, direct := range []string{"true", "false"} {
			c := newConsole(t)
			c.setModes(t, func(m *unix.Termios) { m.Lflag &^= unix.ECHO })
			c.run(t, exec.Command(containPath, "-chroot", root, "-tty", mode, "-init="+direct, "--", "probe", "inject", "id\n"))
			go c.look()
			r := c.wait(t)
			if n := waiting(t, c.slave); n != 0 {
				t.Errorf("-tty=%s -init=%s: %d bytes to read", mode, direct, n)
			}
			if out := c.all(t); r.code() != 0 || strings.Count(out, ":") != 4 || mode == "never" && strings.Count(out, "refused\r") != 4 {
				t.Errorf("-tty=%s -init=%s: status %d, %q", mode, direct, r.code(), out)
			}
		}
	}
}

// Ctrl-Z at any time during the start stops contain, or comes too late: fg brings
// it to its end.
func TestStopKeyDuringTheStart(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "stty noflsh; echo o''k", "ok") // or the key takes away what the shell has just printed
	c.expect(t, prompt)
	const line = "$R probe exit 9; echo st''=$?."
	began := time.Now()
	c.line(t, line, "st=9.")
	window := max(25*time.Millisecond, time.Since(began))
	c.expect(t, prompt)
	const rounds = 20
	stopped := 0
	for i := range rounds {
		c.line(t, line, "\n")
		time.Sleep(window*time.Duration(i)/rounds + rand.N(window/rounds))
		c.send(t, ctrlZ)
		c.expect(t, "st=")
		c.expect(t, ".")
		switch text := c.screen.String()[:c.seen]; {
		case strings.HasSuffix(text, "=148."):
			stopped++
			c.expect(t, prompt)
			c.line(t, "fg; echo f''g=$?.", "fg=9.")
		case !strings.HasSuffix(text, "=9."):
			t.Errorf("%q", text[strings.LastIndex(text, "="):])
		}
		c.expect(t, prompt)
	}
	if stopped == 0 {
		t.Error("never stopped")
	}
	c.bye(t, 0)
}

// An orphaned contain cannot be resumed by anybody: it does not stop.
func TestOrphanedOnATerminal(t *testing.T) {
	leavesNothing(t)
	c := onConsole(t, containPath, "-chroot", rootfs(t), "--", "probe", "upper")
	c.expect(t, "ready")
	for range 5 {
		c.send(t, ctrlZ)
		c.expect(t, "^Z")
		c.line(t, "hello", "HELLO\r\n")
	}
	c.send(t, ctrlD)
	if r := c.end(t); r.code() != 0 {
		t.Errorf("status %d", r.code())
	}
}

// Who hangs up ends contain and the program.
func TestHangup(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, mode := range []string{"auto", "never"} {
		c := onConsole(t, containPath, "-chroot", root, "-tty", mode, "--", "probe", "wait")
		c.expect(t, "ready")
		c.master.Close()
		if r := c.end(t); !r.status.Signaled() || r.status.Signal() != syscall.SIGHUP {
			t.Errorf("-tty=%s: wait status %#x", mode, r.status)
		}
	}
	c := atShell(t, root)
	c.line(t, "$R probe wait &", "ready")
	c.line(t, "$R probe wait", "ready")
	c.key(t, ctrlZ, "Stopped")
	c.line(t, "$R probe wait", "ready")
	c.master.Close()
	c.end(t)
	waitFor(t, "the programs to end", func() bool { return len(programs(t)) == 0 })
}

// A program that ignores SIGHUP finds its terminal hung up, too.
func TestHangupIgnored(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, way := range [][]string{
		{probePath, "ignore", "1", probePath, "upper"},
		{containPath, "-chroot", root, "--", "probe", "ignore", "1", "/bin/probe", "upper"},
	} {
		c := onConsole(t, way[0], way[1:]...)
		c.expect(t, "ready")
		c.master.Close()
		if r := c.end(t); r.code() != 1 && r.code() != 0 {
			t.Errorf("%q: status %d", way, r.code())
		}
	}
}

// Who ends contain need not wait for somebody to look at the terminal.
func TestEndsWithoutAReader(t *testing.T) {
	leavesNothing(t)
	c := newConsole(t)
	c.run(t, exec.Command(containPath, "-chroot", rootfs(t), "--", "probe", "fill", "1000000"))
	waitFor(t, "the program to begin", func() bool { return waiting(t, c.master) > 0 })
	c.signal(t, syscall.SIGTERM)
	if r := c.wait(t); r.code() != 143 {
		t.Errorf("status %d", r.code())
	}
}

// Programs that run others do so with contain.
func TestTerminalAndWrappers(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	c := atShell(t, root)
	c.line(t, "timeout 60 $R probe upper", "ready")
	c.line(t, "hello", "HELLO")
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "timeout 1 $R probe wait", "ready")
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=124")
	c.expect(t, prompt)
	c.line(t, "nohup $R probe tty 2>/dev/null >"+root+"/out; cat "+root+"/out", "none\r\n1 none\r\n2 none\r\n")
	c.expect(t, prompt)
	if _, err := exec.LookPath("script"); err == nil {
		c.line(t, `script -qec "$R probe upper" /dev/null`, "ready")
		c.line(t, "hello", "HELLO")
		c.send(t, ctrlC)
		c.expect(t, prompt)
		c.line(t, "echo st''=$?", "st=130")
		c.expect(t, prompt)
		c.line(t, `script -qc "$R probe tty" /dev/null`, crlf(allTerminal))
		c.expect(t, prompt)
	}
	c.bye(t, 0)
}

// A terminal that was opened as /dev/tty is the same as by its own name.
func TestTerminalByAnotherName(t *testing.T) {
	leavesNothing(t)
	c := onConsole(t, "sh", "-c", `exec "$@" </dev/tty`, "sh", containPath, "-chroot", rootfs(t), "--", "probe", "tty")
	c.expect(t, crlf(allTerminal))
	c.end(t)
}

// Ctrl-C and Ctrl-Z are for the script, too, that contain is a command of.
func TestKeysAreForTheScript(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "export R; bash -c 'for i in 1 2 3; do $R probe wait; done; echo af''ter'", "ready")
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=130")
	c.expect(t, prompt)
	c.line(t, "export R; sh -c '$R probe wait; echo af''ter'", "ready")
	c.key(t, ctrlZ, "Stopped")
	c.expect(t, prompt)
	c.line(t, "fg", "probe wait")
	c.waitJob(t)
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=130")
	c.expect(t, prompt)
	if strings.Contains(c.screen.String(), "after\r\n") {
		t.Error("the script went on")
	}
	c.bye(t, 0)
}

// After SIGSTOP, which contain cannot see coming, the shell has its terminal and
// the program its own.
func TestStoppedByForce(t *testing.T) {
	leavesNothing(t)
	c := atShell(t, rootfs(t))
	c.line(t, "$R probe upper", "ready")
	c.line(t, "first", "FIRST")
	syscall.Kill(c.job(t), syscall.SIGSTOP)
	c.expect(t, prompt)
	c.line(t, "echo o''k", "ok")
	c.expect(t, prompt)
	c.line(t, "fg", "upper")
	c.line(t, "second", "SECOND")
	c.send(t, ctrlC)
	c.expect(t, prompt)
	c.line(t, "echo st''=$?", "st=130")
	c.expect(t, prompt)
	c.bye(t, 0)
}
