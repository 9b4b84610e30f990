// The terminal: if the caller has one the program gets one of its own, a pty of
// the container's devpts, so that its job control works and what it does to it
// does not reach the caller's. Where there is none nothing here runs: descriptors
// are passed on as they are.
//
// The pty's foreground follows that of the caller's terminal. While the program is
// in it, the caller's terminal is in raw mode: Ctrl-C and its like are for the
// pty to see. (In a pipeline they stay for the whole of it.) Else it is left as it
// is, and not read from. A program that reads
// the pty from the background is stopped, as by any terminal; that tells contain
// that it wants the foreground. So a program that never reads takes no input away
// from others: from the next program of a pipeline, from the shell.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ttyPlan is what is to be done about a terminal.
type ttyPlan struct {
	replace  uint32 // a mask: which of descriptors 0 to 2 become the pty; 0: no pty
	caller   bool   // standard input is the caller's terminal
	toStdout bool   // what the program prints goes to standard output; else to the terminal
	alone    bool   // the program prints to the terminal too: no pipeline, most likely
	front    bool   // the program begins in the foreground
}

// planTerminal looks at descriptors 0 to 2. Those that are the same terminal as
// standard input become the pty, or with "always" all.
//
// A program that is PID 1 cannot be seen to stop: it has the foreground if contain
// has it.
func planTerminal(mode string, direct bool) (p ttyPlan) {
	in, ok := terminalOf(0)
	p.caller = ok
	if mode == "never" || mode == "auto" && !p.caller {
		return ttyPlan{}
	}
	same := [3]bool{p.caller}
	for fd := 1; fd <= 2; fd++ {
		out, ok := terminalOf(fd)
		same[fd] = p.caller && ok && out == in
	}
	for fd := range 3 {
		if same[fd] || mode == "always" {
			p.replace |= 1 << fd
		}
	}
	p.toStdout = mode == "always" && !same[1]
	p.alone = same[1]
	p.front = !p.caller || inForeground(0) && (direct || same[1] || !isPipe(1))
	return p
}

// terminalOf tells which terminal a descriptor is, also when it was opened as
// /dev/tty.
func terminalOf(fd int) (device int, ok bool) {
	device, err := unix.IoctlGetInt(fd, unix.TIOCGDEV)
	return device, err == nil && isTerminal(fd)
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// isPipe tells whether a descriptor leads to another process, which may want the
// terminal for itself: a pager does.
func isPipe(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFIFO || st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// inForeground tells whether contain is in the foreground of a terminal. One that
// is not its controlling terminal has none.
func inForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// terminal is the pty and the caller's terminal, between which contain copies. A
// nil terminal is none: its methods do nothing.
type terminal struct {
	master, slave *os.File      // the slave is closed first; master serves for its modes too
	caller        *os.File      // opened anew, so that nobody else sees it non-blocking; or nil
	out           *os.File      // caller, or standard output
	prints        bool          // out is a terminal
	alone         bool          // see ttyPlan
	typed         atomic.Int32  // the last signal that was typed for the program
	busy          atomic.Bool   // something read from the pty is not written yet
	drained       chan struct{} // closed when nothing more will be printed
	abandoned     chan struct{} // closed when that is not to be waited for

	mu       sync.Mutex
	entered  *sync.Cond
	raw      bool         // the caller's terminal is in raw mode, and is read from
	modes    unix.Termios // what it was in before
	rawModes unix.Termios // what contain has put it into
	copied   bool         // the pty has had its modes
	size     unix.Winsize
}

// openTerminal makes the pty, once the container's file systems are mounted, and
// sends the program's end to pid1. Its undo is close.
func (c *container) openTerminal(p ttyPlan) error {
	t := &terminal{drained: make(chan struct{}), abandoned: make(chan struct{}), out: os.Stdout, alone: p.alone}
	t.prints = !p.toStdout && p.caller || isTerminal(1)
	t.entered = sync.NewCond(&t.mu)
	c.terminal = t
	pid, err := c.process.Pid()
	if err == nil {
		err = t.openPty(pid)
	}
	if err == nil && p.caller {
		err = t.openCaller(p)
	}
	if err == nil {
		err = unix.Sendmsg(int(c.report.Fd()), []byte{0}, unix.UnixRights(int(t.slave.Fd())), nil, 0)
	}
	if err != nil {
		return fmt.Errorf("make a terminal for the program: %w", err)
	}
	go c.guard(t.copyOut)
	if t.caller != nil {
		go c.guard(t.copyIn)
	} else {
		go c.guard(func() { t.feed(os.Stdin) })
	}
	return nil
}

// openPty opens a new pty of the devpts that is mounted in the container of pid.
// No path leads out of that: only /dev, which libcontainer has made, is walked.
func (t *terminal) openPty(pid int) error {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, "dev/pts/ptmx", &unix.OpenHow{
		Flags:   unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return fmt.Errorf("open /dev/pts/ptmx: %w", err)
	}
	t.master = os.NewFile(uintptr(fd), "pty")
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return errors.New("/dev/pts is not a devpts")
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock the pty: %w", err)
	}
	peer, err := openPeer(fd)
	if err != nil {
		return fmt.Errorf("open the program's end of the pty: %w", err)
	}
	t.slave = os.NewFile(uintptr(peer), "pty of the program")
	return nil
}

// openCaller opens the caller's terminal, and gives the pty its size.
func (t *terminal) openCaller(p ttyPlan) (err error) {
	t.caller, err = os.OpenFile("/proc/self/fd/0", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return reason(err)
	}
	if !p.toStdout {
		t.out = t.caller
	}
	t.resize()
	if inForeground(0) { // else they are a shell's own, see enter
		err = t.copyModes()
	}
	return err
}

// copyModes gives the pty the modes of the caller's terminal, once.
func (t *terminal) copyModes() error {
	modes, err := unix.IoctlGetTermios(callerFD, unix.TCGETS)
	if err == nil {
		err = unix.IoctlSetTermios(int(t.master.Fd()), unix.TCSETS, modes)
	}
	t.copied = true
	return err
}

// resize gives the pty the size of the caller's terminal, and tells whether that
// has changed.
func (t *terminal) resize() (changed bool) {
	if t == nil || t.caller == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	size, err := unix.IoctlGetWinsize(callerFD, unix.TIOCGWINSZ)
	if err != nil || *size == t.size || unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size) != nil {
		return false
	}
	t.size = *size
	return true
}

// enter puts the caller's terminal into raw mode and begins to read from it, if
// contain is in its foreground. It tells whether that has changed. If contain was
// moved to the background meanwhile it takes note of that.
func (t *terminal) enter() bool {
	if t == nil || t.caller == nil {
		return false
	}
	t.resize()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !inForeground(callerFD) {
		t.raw = false
		return false
	}
	if !t.copied {
		_ = t.copyModes()
	}
	modes, err := unix.IoctlGetTermios(callerFD, unix.TCGETS)
	if err != nil || t.raw && *modes == t.rawModes {
		return false
	}
	if *modes != t.rawModes {
		t.modes = *modes
	}
	// cfmakeraw(3)
	modes.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	modes.Oflag &^= unix.OPOST
	modes.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	modes.Cflag = modes.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	modes.Cc[unix.VMIN], modes.Cc[unix.VTIME] = 1, 0
	if !t.alone { // its keys and its screen are others' too
		modes.Oflag, modes.Lflag = t.modes.Oflag, modes.Lflag|t.modes.Lflag&unix.ISIG
	}
	if unix.IoctlSetTermios(callerFD, unix.TCSETS, modes) != nil {
		return false
	}
	t.raw, t.rawModes = true, *modes
	t.caller.SetReadDeadline(time.Time{})
	t.entered.Broadcast()
	return true
}

// inFront tells whether the program belongs in the foreground of the pty.
func (t *terminal) inFront() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.caller == nil || t.raw && inForeground(callerFD)
}

// leave gives the caller's terminal back the modes it had, and reads no more.
func (t *terminal) leave() {
	if t == nil || t.caller == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.raw {
		return
	}
	t.raw = false
	t.caller.SetReadDeadline(time.Unix(1, 0))
	if inForeground(callerFD) { // else its modes are another's
		_ = unix.IoctlSetTermios(callerFD, unix.TCSETS, &t.modes)
	}
}

// callerFD is the caller's terminal for ioctl(2). (File.Fd would make t.caller block.)
const callerFD = 0

// hangUp hangs the program's terminal up: it reads the end of it from now on.
func (t *terminal) hangUp() {
	if peer, err := openPeer(int(t.master.Fd())); err == nil {
		_ = unix.IoctlSetInt(peer, unix.TIOCVHANGUP, 0)
		_ = unix.Close(peer)
	}
}

// openPeer opens the program's end of the pty.
func openPeer(master int) (int, error) {
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(peer), nil
}

// copyIn passes on what is typed while the program is in the foreground.
func (t *terminal) copyIn() {
	buf := make([]byte, 32<<10)
	for {
		t.mu.Lock()
		for !t.raw {
			t.entered.Wait()
		}
		t.mu.Unlock()
		n, err := t.caller.Read(buf)
		if n > 0 {
			t.noteKeys(buf[:n])
			if _, err := t.master.Write(buf[:n]); err != nil {
				return
			}
		}
		switch {
		case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, unix.EIO) && !inForeground(callerFD):
			t.mu.Lock() // moved to the background, where reading fails
			t.raw = false
			t.mu.Unlock()
		default: // hung up: so is the program's, which may ignore SIGHUP
			t.hangUp()
			return
		}
	}
}

// noteKeys keeps in mind which signal of the terminal's was typed.
func (t *terminal) noteKeys(text []byte) {
	modes, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	if err != nil || modes.Lflag&unix.ISIG == 0 {
		return
	}
	for key, sig := range map[int]unix.Signal{unix.VINTR: unix.SIGINT, unix.VQUIT: unix.SIGQUIT, unix.VSUSP: unix.SIGTSTP} {
		if modes.Cc[key] != 0 && bytes.IndexByte(text, modes.Cc[key]) >= 0 {
			t.typed.Store(int32(sig))
		}
	}
}

// wasTyped tells whether sig was typed for the program while the caller's terminal
// was in raw mode. Without contain it would have been for contain's whole process
// group: for the script that contain is a command of.
func (t *terminal) wasTyped(sig unix.Signal) bool {
	return t != nil && sig != 0 && t.typed.Load() == int32(sig)
}

// feed passes on in, which is no terminal, to its end, and that as a terminal
// does.
func (t *terminal) feed(in io.Reader) {
	last := byte('\n')
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			last = buf[n-1]
			if _, err := t.master.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == nil {
			continue
		}
		modes, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
		if err != nil || modes.Lflag&unix.ICANON == 0 {
			return
		}
		end := []byte{modes.Cc[unix.VEOF]}
		if last != '\n' {
			end = append(end, end[0]) // the first one only ends the line
		}
		t.master.Write(end)
		return
	}
}

// copyOut passes on what is printed until all have closed the pty. It reads on
// when nobody takes it any more, so as not to block the program.
func (t *terminal) copyOut() {
	defer close(t.drained)
	buf := make([]byte, 32<<10)
	var failed error
	for {
		n, err := t.master.Read(buf)
		if n > 0 && failed == nil {
			t.busy.Store(true)
			_, failed = t.out.Write(t.forCaller(buf[:n]))
			t.busy.Store(false)
		}
		if err != nil {
			return // EIO: the last has closed it
		}
	}
}

// forCaller takes back what the pty has made of the ends of lines, where the
// caller's terminal makes it too.
func (t *terminal) forCaller(text []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.prints || t.raw && t.alone {
		return text
	}
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}

// settle gives what the program has printed before it was stopped time to get
// through the kernel and copyOut; not long, if nobody takes it.
func (t *terminal) settle() {
	if t == nil {
		return
	}
	for quiet, rounds := 0, 0; quiet < 2 && rounds < printedTries; rounds++ {
		time.Sleep(printedArrives)
		if quiet++; t.printing() {
			quiet = 0
		}
	}
}

// printing tells whether something is on its way from the pty to the caller.
func (t *terminal) printing() bool {
	master := []unix.PollFd{{Fd: int32(t.master.Fd()), Events: unix.POLLIN}}
	n, _ := unix.Poll(master, 0)
	return n > 0 || t.busy.Load()
}

// drain waits until all that the program has printed is where it belongs, or
// until abandon. If contain was asked to end it does not wait long: perhaps nobody
// reads. The container's processes have ended; but one may have handed the pty to
// a process outside, which is not waited for when nothing more comes.
func (t *terminal) drain(asked bool) {
	if t == nil {
		return
	}
	var late <-chan time.Time
	if asked {
		late = time.After(readerComes)
	}
	t.slave.Close()
	for quiet := 0; ; {
		select {
		case <-t.drained:
			return
		case <-t.abandoned:
			return
		case <-late:
			return
		case <-time.After(ptyIsEmpty):
		}
		if quiet++; t.printing() {
			quiet = 0
		}
		if quiet == ptyTries {
			return
		}
	}
}

// abandon ends drain. It must be called once.
func (t *terminal) abandon() {
	if t != nil {
		close(t.abandoned)
	}
}

// close gives the caller back his terminal.
func (t *terminal) close() {
	if t == nil {
		return
	}
	t.leave()
	for _, f := range []*os.File{t.slave, t.master} {
		if f != nil {
			f.Close()
		}
	}
}
