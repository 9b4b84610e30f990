package test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asJob starts a command as a shell with job control would: in a process group
// of its own, with somebody to resume it in another of the session.
func asJob(t *testing.T, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return startCommand(t, cmd)
}

// nextStop waits until the process has stopped, and returns by which signal, as
// wait(2) says; 0 if it has been resumed instead.
func (p *process) nextStop(t *testing.T) (sig syscall.Signal) {
	t.Helper()
	waitFor(t, "contain to stop or to go on", func() bool {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WSTOPPED|unix.WCONTINUED|unix.WNOHANG, nil)
		if err != nil {
			t.Fatal(err)
		}
		// si_code, si_pid and si_status of siginfo_t on 64-bit machines
		raw := (*[32]byte)(unsafe.Pointer(&info))
		code, pid, status := binary.NativeEndian.Uint32(raw[8:]), binary.NativeEndian.Uint32(raw[16:]), binary.NativeEndian.Uint32(raw[24:])
		const stopped = 5 // CLD_STOPPED
		if code == stopped {
			sig = syscall.Signal(status)
		}
		return pid != 0
	})
	return sig
}

func readStatus(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var stopSignals = []syscall.Signal{syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}

// contain stops of the signal that the program stops of, and both go on.
func TestStopsWithTheProgram(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, sig := range stopSignals {
		p := asJob(t, containPath, "-chroot", root, "--", "probe", "raise", itoa(int(sig)))
		if got := p.nextStop(t); got != sig {
			t.Errorf("program stopped by signal %d: contain stopped by %d", sig, got)
		}
		p.signal(t, syscall.SIGCONT)
		p.wait(t).want(t, 0, "survived\n")
	}
}

// A signal of the terminal's that is sent to contain stops both, again and again.
func TestStopAndContinue(t *testing.T) {
	leavesNothing(t)
	p := asJob(t, containPath, "-chroot", rootfs(t), "--", "probe", "wait")
	p.waitLine(t, "ready")
	for range 5 {
		p.stopAndContinue(t)
	}
	p.endBy(t, syscall.SIGTERM)
}

// stopAndContinue has a job and its program stop, by the terminal's signal, and go on.
func (p *process) stopAndContinue(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTSTP)
	if got := p.nextStop(t); got != syscall.SIGTSTP {
		t.Fatalf("contain stopped by %d", got)
	}
	if state := field(readStatus(t, initPID(t)), "State"); !strings.HasPrefix(state, "T") {
		t.Errorf("the program's state is %q", state)
	}
	p.signal(t, syscall.SIGCONT)
	if got := p.nextStop(t); got != 0 {
		t.Fatalf("contain stopped again, by %d", got)
	}
	waitFor(t, "the program to go on", func() bool { return !strings.HasPrefix(field(readStatus(t, initPID(t)), "State"), "T") })
}

// endBy ends the program by a signal, which is how contain ends then.
func (p *process) endBy(t *testing.T, sig syscall.Signal) {
	t.Helper()
	p.signal(t, sig)
	if r := p.wait(t); !r.status.Signaled() || r.status.Signal() != sig {
		t.Errorf("wait status %#x", r.status)
	}
}

// A stopped contain goes on by itself when the program does, or has ended, by
// the hands of another.
func TestStoppedContainFollowsTheProgram(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, sig := range stopSignals {
		for range 5 {
			p := asJob(t, containPath, "-chroot", root, "--", "probe", "raise", itoa(int(sig)))
			p.nextStop(t)
			syscall.Kill(initPID(t), syscall.SIGCONT)
			p.wait(t).want(t, 0, "survived\n")
		}
		p := asJob(t, containPath, "-chroot", root, "--", "probe", "raise", itoa(int(sig)))
		p.nextStop(t)
		syscall.Kill(initPID(t), syscall.SIGKILL)
		if r := p.wait(t); !r.status.Signaled() || r.status.Signal() != syscall.SIGKILL || r.stderr != "" {
			t.Errorf("wait status %#x, stderr %q", r.status, r.stderr)
		}
	}
}

// A program that is resumed the moment it stops leaves nobody stopped.
func TestShortStops(t *testing.T) {
	leavesNothing(t)
	p := asJob(t, containPath, "-chroot", rootfs(t), "--", "probe", "blink", "300")
	p.wait(t).want(t, 0, "done\n")
}

// In an orphaned process group the terminal's signals stop nothing.
func TestNoStopInAnOrphanedGroup(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		for _, args := range [][]string{{probePath}, {containPath, "-chroot", root, "--", "probe"}} {
			cmd := exec.Command(args[0], append(args[1:], "raise", itoa(int(sig)))...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			startCommand(t, cmd).wait(t).want(t, 0, "survived\n")
		}
	}
}

// A shell's job control sees contain as it would see the program.
func TestJobsOfAShell(t *testing.T) {
	leavesNothing(t)
	script := `set -m
		"$@" & wait $!; echo "stopped: $(($? - 128))"
		jobs >&2
		bg %1 >/dev/null; wait $!; echo "ended: $?"`
	for _, sig := range stopSignals {
		var outcome [2]result
		for i, args := range [][]string{{probePath}, {containPath, "-chroot", rootfs(t), "--", "probe"}} {
			cmd := exec.Command("bash", append([]string{"-c", script, "bash"}, append(args, "raise", itoa(int(sig)))...)...)
			outcome[i] = startCommand(t, cmd).wait(t)
			outcome[i].stderr, _, _ = strings.Cut(outcome[i].stderr, `"$@"`) // the job's text is the same
		}
		if outcome[0] != outcome[1] || outcome[0].code() != 0 || !strings.Contains(outcome[1].stdout, "survived\nended: 0\n") {
			t.Errorf("signal %d: bare %+v, contained %+v", sig, outcome[0], outcome[1])
		}
	}
}

// A SIGCONT at the time of a stop resumes the program, whether contain has stopped
// already or not.
func TestContinueAtTheTimeOfAStop(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for i := range often(100) {
		p := asJob(t, containPath, "-chroot", root, "--", "probe", "stopping")
		p.waitLine(t, "ready")
		p.signal(t, syscall.SIGUSR1) // stops the program
		pid := initPID(t)
		waitFor(t, "the program to stop", func() bool { return strings.HasPrefix(field(readStatus(t, pid), "State"), "T") })
		for end := time.Now().Add(time.Duration(i) * 20 * time.Microsecond); time.Now().Before(end); {
		}
		p.signal(t, syscall.SIGCONT)
		p.wait(t).want(t, 0, "ready\nsurvived\n")
	}
}

// The kernel resumes what ignores SIGCONT, too.
func TestContinueIgnored(t *testing.T) {
	leavesNothing(t)
	p := asJob(t, probePath, "ignore", "18", containPath, "-chroot", rootfs(t), "--", "probe", "raise", "19")
	if got := p.nextStop(t); got != syscall.SIGSTOP {
		t.Errorf("contain stopped by %d", got)
	}
	p.signal(t, syscall.SIGCONT)
	p.wait(t).want(t, 0, "survived\n")
}
