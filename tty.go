// The terminal: if the caller has one the program gets one of its own, a pty of
// the container's devpts, so that its job control works and what it does to it
// does not reach the caller's. Where there is none nothing here runs: descriptors
// are passed on as they are.
//
// The pty's foreground follows that of the caller's terminal. While the program is
// in it, the caller's terminal is in raw mode: Ctrl-C and its like are for the pty
// to see. (In a pipeline they stay for the whole of it.) Else it is left as it is,
// and not read from. A program that reads the pty from the background is stopped, as
// by any terminal; that tells contain that it wants the foreground. So a program
// that never reads takes no input away from others: from the next program of a
// pipeline, from the shell.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
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
	left          atomic.Int64  // how many more bytes are passed on; ended sets it
	drained       chan struct{} // closed when nothing more will be printed

	mu       sync.Mutex
	entered  *sync.Cond
	closed   bool         // it is given back for good
	raw      bool         // the caller's terminal is in raw mode, and is read from
	modes    unix.Termios // what it was in before
	rawModes unix.Termios // what contain has put it into
	copied   bool         // the pty has had its modes
	size     unix.Winsize
	begun    bool   // the program runs
	groups   [2]int // process groups: its own, and pid1's, which passes signals on
	early    []byte // typed before the terminal was in raw mode, for the program
}

// openTerminal makes the pty, once the container's file systems are mounted, and
// sends the program's end to pid1. Its undo is close.
func (c *container) openTerminal(p ttyPlan) error {
	t := &terminal{drained: make(chan struct{}), out: os.Stdout, alone: p.alone}
	t.left.Store(math.MaxInt64)
	t.prints = !p.toStdout && p.caller || isTerminal(1)
	t.entered = sync.NewCond(&t.mu)
	c.terminal = t
	err := t.openPty(c.init)
	if owner := int(c.ids.first + c.task.user.uid); err == nil && owner != 0 {
		err = t.slave.Chown(owner, -1)
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
	go func() {
		defer close(t.drained)
		c.guard(t.copyOut)
	}()
	if t.caller != nil {
		go c.guard(t.copyIn)
	} else {
		go c.guard(func() { t.feed(os.Stdin) })
	}
	return nil
}

// openPty opens a new pty of the devpts that is mounted in the container of pid.
// No path leads out of that: only /dev, which is new there, is walked.
func (t *terminal) openPty(pid int) error {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	defer unix.Close(root)
	fd, err := openInRoot(root, "dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, unix.RESOLVE_NO_SYMLINKS)
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
		return t.copyModes()
	}
	// But who is in the background is to stop before it prints, if so asked for.
	theirs, err := unix.IoctlGetTermios(callerFD, unix.TCGETS)
	if err != nil || theirs.Lflag&unix.TOSTOP == 0 {
		return err
	}
	modes, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	if err == nil {
		modes.Lflag |= unix.TOSTOP
		err = unix.IoctlSetTermios(int(t.master.Fd()), unix.TCSETS, modes)
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
	if t.closed {
		return false // a SIGCONT came last
	}
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
		t.readEarly()
		if !t.begun {
			t.giveEarly()
		}
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

// readEarly reads the lines that were typed before, to their ends and with them: in
// raw mode the end of a file that was typed would be read as a zero. t.mu is held.
func (t *terminal) readEarly() {
	end, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	if err != nil || t.modes.Lflag&unix.ICANON == 0 {
		return
	}
	buf := make([]byte, 4096) // no line is longer
	for range 4096 {
		typed := []unix.PollFd{{Fd: callerFD, Events: unix.POLLIN}}
		if n, err := unix.Poll(typed, 0); n != 1 || err != nil || typed[0].Revents&unix.POLLHUP != 0 {
			return
		}
		t.caller.SetReadDeadline(time.Now().Add(lineIsGone)) // another may have read it
		n, err := t.caller.Read(buf)
		t.early = append(t.early, buf[:n]...)
		switch last := buf[max(n-1, 0)]; {
		case n > 0 && (last == '\n' || last == t.modes.Cc[unix.VEOL] || last == t.modes.Cc[unix.VEOL2]):
		case n > 0 || errors.Is(err, io.EOF):
			t.early = append(t.early, end.Cc[unix.VEOF])
		default:
			return
		}
	}
}

// giveEarly types what was typed early, before the program runs. It was echoed when
// it was typed, and is not to be once more. t.mu is held.
func (t *terminal) giveEarly() {
	if len(t.early) == 0 {
		return
	}
	master, slave := int(t.master.Fd()), int(t.slave.Fd())
	modes, err := unix.IoctlGetTermios(master, unix.TCGETS)
	if err != nil {
		return
	}
	silent := *modes
	silent.Lflag &^= unix.ECHO | unix.ECHONL
	_ = unix.IoctlSetTermios(master, unix.TCSETS, &silent)
	t.master.Write(t.early)
	all := len(t.early) - bytes.Count(t.early, []byte{modes.Cc[unix.VEOF]})
	for range printedTries {
		if n, err := unix.IoctlGetInt(slave, unix.TIOCINQ); err != nil || n >= all {
			break
		}
		time.Sleep(printedArrives)
	}
	_ = unix.IoctlSetTermios(master, unix.TCSETS, modes)
	t.early = nil
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
	t.restore()
}

// restore is what leave does. t.mu is held.
func (t *terminal) restore() {
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
		if early := t.await(); len(early) > 0 {
			t.master.Write(early)
		}
		n, err := t.caller.Read(buf)
		if n > 0 {
			t.noteKeys(buf[:n])
			if _, err := t.master.Write(buf[:n]); err != nil {
				return
			}
		}
		switch {
		case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		case hungUp(callerFD): // so is the program's, which may ignore SIGHUP
			t.hangUp()
			return
		case errors.Is(err, io.EOF): // typed, and another has undone raw mode
			t.endInput()
		default: // moved to the background, where reading fails
			t.mu.Lock()
			t.raw = false
			t.mu.Unlock()
		}
	}
}

// await waits until the terminal is in raw mode and returns what was typed before.
func (t *terminal) await() (early []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.raw {
		t.entered.Wait()
	}
	early, t.early = t.early, nil
	return early
}

// hungUp tells whether nobody is at the other side of a terminal any more.
func hungUp(fd int32) bool {
	fds := []unix.PollFd{{Fd: fd}}
	n, err := unix.Poll(fds, 0)
	return n == 1 && err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// noteKeys keeps in mind which signal of the terminal's was typed last for the
// program's process group. Only the caller's own keys count: a program can choose
// others, such as those in a terminal's answers to it.
func (t *terminal) noteKeys(text []byte) {
	modes, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	if err != nil {
		return
	}
	t.mu.Lock()
	theirs, groups := t.modes, t.groups
	t.mu.Unlock()
	front, err := unix.IoctlGetInt(int(t.master.Fd()), unix.TIOCGPGRP)
	if err != nil || !slices.Contains(groups[:], front) || modes.Lflag&theirs.Lflag&unix.ISIG == 0 {
		return
	}
	last := -1
	for _, key := range []struct {
		cc  int
		sig unix.Signal
	}{{unix.VINTR, unix.SIGINT}, {unix.VQUIT, unix.SIGQUIT}, {unix.VSUSP, unix.SIGTSTP}} {
		char := theirs.Cc[key.cc]
		if at := bytes.LastIndexByte(text, char); char != 0 && modes.Cc[key.cc] == char && at > last {
			last = at
			t.typed.Store(int32(key.sig))
		}
	}
}

// begin is called when the program is about to run, in the first of two process
// groups, with front in the foreground.
func (t *terminal) begin(groups [2]int, front bool) {
	if t == nil {
		return
	}
	if front {
		t.enter()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups, t.begun = groups, true
}

// forgetKeys is called when what was typed has had its effect.
func (t *terminal) forgetKeys() {
	if t != nil {
		t.typed.Store(0)
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
		if last != '\n' {
			t.endInput() // only ends the line
		}
		t.endInput()
		return
	}
}

// endInput types the end of a file for the program. Also if it does without lines:
// a shell with a line editor of its own knows the key too.
func (t *terminal) endInput() {
	if modes, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS); err == nil {
		t.master.Write([]byte{modes.Cc[unix.VEOF]})
	}
}

// copyOut passes on what is printed until all have closed the pty. It reads on
// when nobody takes it any more, so as not to block the program.
func (t *terminal) copyOut() {
	buf := make([]byte, 32<<10)
	var failed error
	for {
		n, err := t.master.Read(buf)
		if n > 0 && failed == nil {
			t.busy.Store(true)
			_, failed = t.out.Write(t.forCaller(buf[:n]))
			t.busy.Store(false)
		}
		if err != nil || t.left.Add(-int64(n)) < 0 {
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

// ptyHolds is more than is on its way in a pty: a line discipline's buffer, those
// below it (TTYB_DEFAULT_MEM_LIMIT, drivers/tty/tty_buffer.c), and copyOut's.
const ptyHolds = 256 << 10

// drain waits until all that the program has printed is where it belongs, or until
// abandoned is closed. If contain was asked to end it does not wait long: perhaps
// nobody reads. The container's processes have ended; but one may have handed the
// pty to a process outside: that is not waited for when nothing more comes, and what
// it prints is not passed on for ever.
func (t *terminal) drain(asked func() bool, abandoned <-chan struct{}) {
	if t == nil {
		return
	}
	var late <-chan time.Time
	t.left.Store(ptyHolds)
	t.slave.Close()
	for quiet := 0; quiet < ptyTries; {
		if late == nil && asked() {
			late = time.After(readerComes)
		}
		select {
		case <-t.drained:
			return
		case <-abandoned:
			return
		case <-late:
			return
		case <-time.After(ptyIsEmpty):
		}
		if quiet++; t.printing() {
			quiet = 0
		}
	}
}

// close gives the caller back his terminal. The pty goes with contain: goroutines
// still use it.
func (t *terminal) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restore()
	t.closed = true
}

// lentTerminal is a terminal that the program gets as it is, on an output: standard
// input is none.
type lentTerminal struct {
	fd    int
	modes unix.Termios
	flags int
}

// lentTerminals finds those of descriptors 0 to 2 that are terminals and do not
// become the pty.
func lentTerminals(replace uint32) (lent []lentTerminal) {
	for fd := range 3 {
		modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil || replace>>fd&1 == 1 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
			lent = append(lent, lentTerminal{fd, *modes, flags})
		}
	}
	return lent
}

// giveBack undoes what the program has changed, but in the background not the modes:
// those are another's then, a shell's with a line editor.
func (l lentTerminal) giveBack() {
	if flags, err := unix.FcntlInt(uintptr(l.fd), unix.F_GETFL, 0); err == nil && flags != l.flags {
		_, _ = unix.FcntlInt(uintptr(l.fd), unix.F_SETFL, l.flags)
	}
	modes, err := unix.IoctlGetTermios(l.fd, unix.TCGETS)
	if err == nil && *modes != l.modes && inForeground(l.fd) {
		_ = unix.IoctlSetTermios(l.fd, unix.TCSETS, &l.modes)
	}
}
