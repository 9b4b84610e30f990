package test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// waitRest waits until contain, whose program has said a line, is at rest.
func (p *process) waitRest(t *testing.T) {
	t.Helper()
	waitFor(t, "contain to rest", func() bool { return p.rests(t) })
}

// rests tells whether contain is at rest: it has one thread, which polls.
func (p *process) rests(t *testing.T) bool {
	t.Helper()
	pid := p.cmd.Process.Pid
	return field(readStatus(t, pid), "Threads") == "1" && isIn(pid, unix.SYS_PPOLL)
}

// isIn tells whether the first thread of a process is in that system call.
func isIn(pid, call int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	return err == nil && strings.HasPrefix(string(text), itoa(call)+" ")
}

// startResting starts a program that says "ready" and waits, in a contain that rests at
// once.
func startResting(t *testing.T, args ...string) *process {
	t.Helper()
	p := startCommand(t, exec.Command(restingPath, args...))
	p.waitLine(t, "ready")
	p.waitRest(t)
	return p
}

// memoryOf is how much of a process's memory is its own, and how much is shared with
// others in proportion, in KiB.
func memoryOf(t *testing.T, pid int) (private, pss int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch f[0] {
		case "Private_Dirty:":
			private, _ = strconv.Atoi(f[1])
		case "Pss:":
			pss, _ = strconv.Atoi(f[1])
		}
	}
	return private, pss
}

// While a program runs, contain is small and quiet, and else what it was.
func TestRest(t *testing.T) {
	leavesNothing(t)
	args := []string{"-chroot", rootfs(t), "-memory-limit", "64M", "-network-address", "172.17.0.99/24", "--", "probe", "after", "10", "/bin/probe", "exit", "42"}
	const count = 8
	var all []*process
	for i := range count {
		args[5] = fmt.Sprintf("172.17.0.%d/24", 60+i)
		all = append(all, start(t, args...))
	}
	sum := 0
	for _, p := range all {
		p.waitLine(t, "ready")
		p.waitRest(t)
	}
	for _, p := range all {
		private, pss := memoryOf(t, p.cmd.Process.Pid)
		sum += pss
		if private > 7*os.Getpagesize()/1024 { // four, or five: where the stack begins is random
			t.Errorf("%d KiB are its own", private)
		}
	}
	if sum/count > 52 { // of what is shared its part
		t.Errorf("%d KiB for each of %d", sum/count, count)
	}
	p := all[count-1]
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	cmdline, _ := os.ReadFile(proc + "cmdline")
	comm, _ := os.ReadFile(proc + "comm")
	exe, _ := os.Readlink(proc + "exe")
	if string(cmdline) != containPath+"\x00"+strings.Join(args, "\x00")+"\x00" || string(comm) != filepath.Base(containPath)+"\n" || exe != containPath {
		t.Errorf("cmdline %q, comm %q, exe %q", cmdline, comm, exe)
	}
	contain(t, args...).wantError(t, 125, "in use by another contain")
	for _, p := range all {
		p.signal(t, syscall.SIGUSR1)
	}
	for _, p := range all {
		p.wait(t).want(t, 42, "ready\n")
	}
}

// Out of a rest contain ends as out of none.
func TestEndOfARest(t *testing.T) {
	root := mappable(t)
	for _, c := range []struct {
		flags, program string
		code, signal   int
		cause, text    string
	}{
		{"", "exit 125", 125, 0, "exited", ""},
		{"-init=false", "exit 42", 42, 0, "exited", ""},
		{"", "raise 9", 0, 9, "signal", ""},
		{"-userns", "segv", 0, 11, "signal", ""},
		{"-memory-limit 16M", "hog 40000000", 0, 9, "oom", "contain: memory limit of 16MiB exceeded, killed ("},
		{"-memory-limit 16M -init=false", "hog 40000000", 0, 9, "oom", "contain: memory limit of 16MiB exceeded, killed ("},
		{"-network-address 172.17.0.99/24 -network-address 2001:db8:17::99/64", "exit 0", 0, 0, "exited", ""},
		{"-network none -hostname x -cpus 0.5", "exit 0", 0, 0, "exited", ""},
	} {
		t.Run(c.flags+" "+c.program, func(t *testing.T) {
			leavesNothing(t)
			args := append(strings.Fields(c.flags), "-chroot", root, "--", "probe", "after", "10", "/bin/probe")
			file := filepath.Join(t.TempDir(), "report")
			args = append(append([]string{"-report", file}, args...), strings.Fields(c.program)...)
			p := reporting{startResting(t, args...), file}
			p.signal(t, syscall.SIGUSR1)
			r, rep := p.end(t)
			want := syscall.WaitStatus(c.code<<8 | c.signal)
			if r.status&^0x80 != want || !strings.HasPrefix(r.stderr, c.text) || c.text == "" && r.stderr != "" {
				t.Errorf("wait status %#x, stderr %q; want %#x, %q", r.status, r.stderr, want, c.text)
			}
			if rep.Cause != c.cause || rep.Stage != "run" || rep.wall() <= 0 || len(rep.Applied) == 0 || rep.Applied["pids.max"] != "4096" {
				t.Errorf("the report: %+v", rep)
			}
			if strings.Contains(c.flags, "172.17") && (rep.Network == nil || rep.Network.SentPackets == 0) {
				t.Errorf("the report's network: %+v", rep.Network)
			}
		})
	}
}

// Signals reach the program through a contain at rest, and one on the way there and back.
func TestSignalsInARest(t *testing.T) {
	leavesNothing(t)
	sigs := forwardable()
	p := startResting(t, "-chroot", rootfs(t), "--", "probe", "signals", itoa(len(sigs)))
	p.passesOn(t, sigs)
}

// Those that the C library keeps to itself do no harm then, either.
func TestSignalsOfTheLibraryInARest(t *testing.T) {
	leavesNothing(t)
	p := startResting(t, "-chroot", rootfs(t), "--", "probe", "signals", "1")
	for sig := 32; sig <= 33; sig++ {
		p.signal(t, syscall.Signal(sig))
	}
	p.signal(t, syscall.SIGTERM)
	p.wait(t).want(t, 0, "ready\n15\n")
}

// countLines is how many lines of text are line.
func countLines(text, line string) (n int) {
	for one := range strings.Lines(text) {
		if one == line+"\n" {
			n++
		}
	}
	return n
}

// No signal is lost, or comes twice, while contain goes to rest and wakes, again and
// again: its program is stopped and resumed.
func TestNoSignalIsLostByRest(t *testing.T) {
	leavesNothing(t)
	p := asJob(t, restingPath, "-chroot", rootfs(t), "--", "probe", "signals", "1000000")
	p.waitLine(t, "ready")
	program := initPID(t)
	sigs := []syscall.Signal{syscall.SIGTERM, 40, syscall.SIGSEGV, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTRAP, syscall.SIGQUIT, 34, syscall.SIGFPE}
	sent := map[string]int{}
	send := func(i int) {
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond) // into any of its states
		line := itoa(int(sigs[i%len(sigs)]))
		p.signal(t, sigs[i%len(sigs)])
		sent[line]++
	}
	rests := 0
	for i := range often(400) {
		syscall.Kill(program, syscall.SIGSTOP)
		send(i)
		p.nextStop(t)
		syscall.Kill(program, syscall.SIGCONT)
		p.nextStop(t)
		send(i + 1)
		for line, n := range sent {
			waitFor(t, "signal "+line, func() bool { return countLines(p.stdout.String(), line) == n })
		}
		if p.rests(t) {
			rests++
		}
	}
	if rests == 0 {
		t.Error("it has never rested")
	}
	syscall.Kill(program, syscall.SIGKILL)
	p.wait(t)
	for line, n := range sent {
		if got := countLines(p.stdout.String(), line); got != n {
			t.Errorf("signal %s: sent %d, got %d", line, n, got)
		}
	}
}

// A stop wakes contain, which stops too, as a shell's job; then it rests again.
func TestStopInARest(t *testing.T) {
	leavesNothing(t)
	p := asJob(t, restingPath, "-chroot", rootfs(t), "--", "probe", "wait")
	p.waitLine(t, "ready")
	for range 2 {
		p.waitRest(t)
		p.stopAndContinue(t)
	}
	p.endBy(t, syscall.SIGTERM)
}

// Time limits end what contain rests for, and not later.
func TestTimeLimitInARest(t *testing.T) {
	leavesNothing(t)
	root, limit := rootfs(t), loose("2s", "12s")
	for _, c := range []struct{ flag, program, text string }{
		{"-timeout", "wait", "contain: time limit of " + limit + " exceeded, ended by SIGTERM\n"},
		{"-cpu-time", "burn 0 1", "contain: CPU time limit of " + limit + " exceeded, ended by SIGTERM\n"},
	} {
		p := startReporting(t, append([]string{"-chroot", root, c.flag, limit, "--", "probe"}, strings.Fields(c.program)...)...)
		waitFor(t, "the program", func() bool { return len(programs(t)) == 1 })
		p.waitRest(t)
		r, rep := p.endWithin(t, 4*seconds(t, limit))
		if r.code() != 124 || r.stderr != c.text {
			t.Errorf("%s: status %d, stderr %q", c.flag, r.code(), r.stderr)
		}
		if c.flag == "-timeout" && !(rep.wall() >= seconds(t, limit) && rep.wall() < seconds(t, limit)+loose(0.1, 2)) {
			t.Errorf("it ended after %v s", rep.wall())
		}
	}
}

// A contain that is killed at rest leaves no process, and the rest to the next start.
func TestKilledInARest(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	p := startResting(t, "-chroot", root, "-memory-limit", "64M", "-network-address", "172.17.0.99/24", "--", "probe", "wait")
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	contain(t, "-chroot", root, "-network-address", "172.17.0.99/24", "--", "probe", "exit", "0").want(t, 0, "")
}

// What the caller ignores stays ignored.
func TestIgnoredSignalInARest(t *testing.T) {
	leavesNothing(t)
	p := startCommand(t, exec.Command(probePath, "ignore", "1", restingPath, "-chroot", rootfs(t), "--", "probe", "after", "10", "/bin/probe", "exit", "7"))
	p.waitLine(t, "ready")
	p.waitRest(t)
	p.signal(t, syscall.SIGHUP)
	p.signal(t, syscall.SIGUSR1)
	if r := p.wait(t); r.code() != 7 {
		t.Errorf("status %d, stdout %q, stderr %q", r.code(), r.stdout, r.stderr)
	}
}

// startWithout starts a command for which a system call does not exist.
func startWithout(t *testing.T, call uint32, cmd *exec.Cmd) (p *process) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and it ends with this: the filter is its own
		err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		defer func() { done <- err }() // also if the command does not start
		if err == nil {
			p = startCommand(t, cmd)
		}
	}()
	must(t, <-done)
	return p
}

// Where it cannot execute itself again, or would not be the same, contain stays as it is.
func TestRestIsNotPossible(t *testing.T) {
	leavesNothing(t)
	args := []string{"-chroot", rootfs(t), "--", "probe", "signals", "2"}
	own := filepath.Join(t.TempDir(), "contain")
	copyFile(t, containPath, own, 0o755)
	unexecutable := startCommand(t, exec.Command(own, args...))
	for what, p := range map[string]*process{
		"not executable": unexecutable,
		"secure bits":    startCommand(t, exec.Command("setpriv", append([]string{"--securebits", "+no_setuid_fixup", restingPath}, args...)...)),
		"no execveat":    startWithout(t, unix.SYS_EXECVEAT, exec.Command(restingPath, args...)),
	} {
		p.waitLine(t, "ready")
		if p == unexecutable { // within a second of its start
			must(t, os.Chmod(own, 0o644))
		}
		p.signal(t, syscall.SIGUSR1)
		// It has polled before.
		waitFor(t, "contain to wait without an end: "+what, func() bool { return isIn(p.cmd.Process.Pid, unix.SYS_READ) })
		if threads := field(readStatus(t, p.cmd.Process.Pid), "Threads"); threads == "1" {
			t.Errorf("%s: it rests", what)
		}
		p.signal(t, syscall.SIGTERM)
		p.wait(t).want(t, 0, "ready\n10\n15\n")
	}
}

// A contain that has been made not executable in its rest wakes all the same.
func TestNotExecutableInARest(t *testing.T) {
	leavesNothing(t)
	own := filepath.Join(t.TempDir(), "contain")
	copyFile(t, restingPath, own, 0o755)
	p := startCommand(t, exec.Command(own, "-chroot", rootfs(t), "--", "probe", "after", "10", "/bin/probe", "exit", "42"))
	p.waitLine(t, "ready")
	p.waitRest(t)
	must(t, os.Chmod(own, 0))
	p.signal(t, syscall.SIGUSR1)
	p.wait(t).want(t, 42, "ready\n")
}

// A limit of contain's own that is lowered in its rest, so that Go cannot begin, ends it.
func TestLoweredLimitInARest(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	p := startResting(t, "-chroot", root, "--", "probe", "wait")
	must(t, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: 1 << 27, Max: 1 << 27}, nil))
	syscall.Kill(initPID(t), syscall.SIGKILL) // which wakes contain
	p.wait(t).wantError(t, 125, "the limit of address space")
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	contain(t, "-chroot", root, "--", "probe", "exit", "0").want(t, 0, "")
}

// If no copy of it can be made either, nobody waits for the program, and the next start
// cleans up.
func TestNeverExecutableInARest(t *testing.T) {
	leavesNothing(t)
	root, own := rootfs(t), filepath.Join(t.TempDir(), "contain")
	copyFile(t, restingPath, own, 0o755)
	p := startCommand(t, exec.Command("sh", "-c", `ulimit -f 1024; exec "$@"`, "sh", own, "-chroot", root, "-timeout", loose("1s", "8s"), "--", "probe", "signals", "2"))
	p.waitLine(t, "ready")
	p.waitRest(t)
	must(t, os.Chmod(own, 0))
	r := p.wait(t)
	r.wantError(t, 125, "cannot execute its own file any more")
	if r.stdout != "ready\n" {
		t.Errorf("the program has had a signal: %q", r.stdout)
	}
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	contain(t, "-chroot", root, "--", "probe", "exit", "0").want(t, 0, "")
}

// What the caller has left open stays so: a lock is held as long as contain is there, and
// the other end of a pipe sees the end of contain, not of its first life. The program has
// none of it.
func TestFilesOfTheCallerInARest(t *testing.T) {
	leavesNothing(t)
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := os.Create(path)
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	cmd := exec.Command(restingPath, "-chroot", rootfs(t), "--", "probe", "after", "10", "/bin/probe", "fds")
	cmd.ExtraFiles = []*os.File{lock, w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := startCommand(t, cmd)
	lock.Close()
	w.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	p.waitLine(t, "ready")
	for range 2 {
		p.waitRest(t)
		again, err := os.Open(path)
		must(t, err)
		if err := unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			t.Errorf("the lock: %v", err)
		}
		again.Close()
		select {
		case err := <-ended:
			t.Errorf("the pipe: %v", err)
		default:
		}
		p.signal(t, syscall.SIGTSTP)
		p.nextStop(t)
		p.signal(t, syscall.SIGCONT)
		p.nextStop(t)
	}
	p.signal(t, syscall.SIGUSR1)
	if r := p.wait(t); r.status != 0 || strings.Contains(r.stdout, "\n3 ") || strings.Contains(r.stdout, "\n4 ") {
		t.Errorf("status %d, stdout %q", r.code(), r.stdout)
	}
	<-ended
}

// allowNoMore allows a pids cgroup no more processes than it has.
func allowNoMore(t *testing.T, dir string) {
	t.Helper()
	now, err := os.ReadFile(filepath.Join(dir, "pids.current"))
	must(t, err)
	must(t, cgroups.WriteFile(dir, "pids.max", strings.TrimSpace(string(now))))
}

// Where there are too many processes for contain to wake, what it waits for ends in time,
// and signals are passed on.
func TestWakeWithoutProcesses(t *testing.T) {
	leavesNothing(t)
	dir, procs := box(t, "pids")
	report := filepath.Join(t.TempDir(), "report")
	limit := loose("1s", "8s")
	cmd := boxed(procs, "-chroot", rootfs(t), "-report", report, "-timeout", limit, "--", "probe", "signals", "2")
	cmd.Args[slices.Index(cmd.Args, containPath)] = restingPath
	p := reporting{startCommand(t, cmd), report}
	p.waitLine(t, "ready")
	p.waitRest(t)
	allowNoMore(t, dir)
	p.signal(t, syscall.SIGUSR1)
	p.waitLine(t, "10")
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	must(t, cgroups.WriteFile(dir, "pids.max", "max"))
	r, rep := p.end(t)
	r.wantError(t, 124, "time limit of "+limit+" exceeded, killed")
	rep.wantEnd(t, "run", "timeout", 124, anyEnd, 9)
}

// However late contain wakes, the report says when the program has ended. Only by the time
// that passes can one be told from the other.
func TestTimeOfAnEndInARest(t *testing.T) {
	leavesNothing(t)
	dir, procs := box(t, "pids")
	report := filepath.Join(t.TempDir(), "report")
	cmd := boxed(procs, "-chroot", rootfs(t), "-report", report, "--", "probe", "after", "10", "/bin/probe", "exit", "0")
	cmd.Args[slices.Index(cmd.Args, containPath)] = restingPath
	p := reporting{startCommand(t, cmd), report}
	began := time.Now()
	p.waitLine(t, "ready")
	p.waitRest(t)
	allowNoMore(t, dir)
	p.signal(t, syscall.SIGUSR1)
	waitFor(t, "the program to end", func() bool { return len(programs(t)) == 0 })
	ended := time.Since(began)
	waitFor(t, "twice that time", func() bool { return time.Since(began) > 2*ended+time.Second })
	must(t, cgroups.WriteFile(dir, "pids.max", "max"))
	r, rep := p.end(t)
	r.want(t, 0, "ready\n")
	if rep.wall() > ended.Seconds() {
		t.Errorf("it ended after %v s, not %v", rep.wall(), ended.Seconds())
	}
}

// A caller's variable does not make contain believe that it has rested.
func TestForgedRest(t *testing.T) {
	leavesNothing(t)
	for _, value := range []string{"", "0", "2", "99", "-1", "x", "1:0", "1:0:----------------"} {
		cmd := exec.Command(containPath, "-chroot", rootfs(t), "--", "probe", "exit", "3")
		cmd.Env = append(slices.Clone(os.Environ()), "_CONTAIN_AT_REST="+value)
		startCommand(t, cmd).wait(t).want(t, 3, "")
	}
	// About this process, of which a shell can know, and in the form that contain has for
	// it: a sealed file of root's, which the program could have made; or the bit that says
	// that contain has executed itself, which the caller could have set.
	for _, c := range []struct{ bits, seals int }{
		{0, unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE},
		{1 << 6, unix.F_SEAL_SEAL}, // SECBIT_NO_CAP_AMBIENT_RAISE
	} {
		fd, err := unix.MemfdCreate("contain-rest", unix.MFD_ALLOW_SEALING)
		must(t, err)
		file := os.NewFile(uintptr(fd), "contain-rest")
		cmd := exec.Command("sh", "-c", `read go; _CONTAIN_AT_REST=$$:3:aaaaaaaaaaaaaaaa exec "$@"`, "sh", containPath, "-chroot", rootfs(t), "--", "probe", "exit", "3")
		cmd.ExtraFiles = []*os.File{file}
		stdin, err := cmd.StdinPipe()
		must(t, err)
		runtime.LockOSThread() // whose bits the command inherits
		must(t, unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(c.bits), 0, 0, 0))
		p := startCommand(t, cmd)
		must(t, unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0))
		runtime.UnlockOSThread()
		content := binary.NativeEndian.AppendUint32(nil, uint32(p.cmd.Process.Pid))
		_, err = file.Write(append(content, make([]byte, 1000)...))
		must(t, err)
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, c.seals)
		must(t, err)
		fmt.Fprintln(stdin, "go")
		p.wait(t).wantError(t, 125, "_CONTAIN_AT_REST")
	}
}
