package test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// forwardable lists the signals that contain passes on: all but those that no
// process can catch, those that are not the user's to send, and 32 and 33,
// which glibc keeps to itself.
func forwardable() (sigs []int) {
	for sig := 1; sig <= 64; sig++ {
		switch syscall.Signal(sig) {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, 32, 33:
			continue
		}
		sigs = append(sigs, sig)
	}
	return sigs
}

func TestEverySignalReachesTheProgram(t *testing.T) {
	leavesNothing(t)
	sigs := forwardable()
	p := start(t, "-chroot", rootfs(t), "--", "probe", "signals", strconv.Itoa(len(sigs)))
	p.waitLine(t, "ready")
	want := "ready\n"
	for _, sig := range sigs {
		p.signal(t, syscall.Signal(sig))
		p.waitLine(t, strconv.Itoa(sig))
		want += strconv.Itoa(sig) + "\n"
	}
	p.wait(t).want(t, 0, want)
}

// A signal that comes while contain starts either ends contain before the
// program has run, or reaches the program. It is never lost.
func TestSignalDuringTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	before, after := 0, 0
	for i := range 60 {
		p := start(t, "-chroot", root, "--", "probe", "signals", "1")
		sent := make(chan error)
		time.AfterFunc(time.Duration(i)*time.Millisecond/2, func() { sent <- p.cmd.Process.Signal(syscall.SIGTERM) })
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		switch r := p.wait(t); {
		case r.status.Signaled() && r.status.Signal() == syscall.SIGTERM && r.stdout == "":
			before++
		case r.code() == 0 && r.stdout == "ready\n15\n":
			after++
		default:
			t.Fatalf("TERM after %d/2 ms: wait status %#x, stdout %q, stderr %q", i, r.status, r.stdout, r.stderr)
		}
	}
	t.Logf("%d ended before the program had a handler, %d programs got it", before, after)
}

// Real-time signals are queued, not merged.
func TestBurstOfRealTimeSignals(t *testing.T) {
	leavesNothing(t)
	const count = 300
	p := start(t, "-chroot", rootfs(t), "--", "probe", "signals", itoa(count))
	p.waitLine(t, "ready")
	for range count {
		p.signal(t, 40)
	}
	p.wait(t).want(t, 0, "ready\n"+strings.Repeat("40\n", count))
}

// The program is not PID 1: default actions work.
func TestDefaultActions(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, 34, 64} {
		p := start(t, "-chroot", root, "--", "probe", "wait")
		p.waitLine(t, "ready")
		p.signal(t, sig)
		if r := p.wait(t); !r.status.Signaled() || r.status.Signal() != sig {
			t.Errorf("signal %d: wait status %#x, stderr %q", sig, r.status, r.stderr)
		}
	}
}

// A program that has stopped itself is resumed by SIGCONT sent to contain.
func TestContinue(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "--", "probe", "raise", "19")
	waitFor(t, "the program to stop", func() bool {
		for _, pid := range programs(t) {
			stat, _ := os.ReadFile("/proc/" + itoa(pid) + "/stat")
			if strings.Contains(string(stat), ") T ") {
				return true
			}
		}
		return false
	})
	p.signal(t, syscall.SIGCONT)
	p.wait(t).want(t, 0, "survived\n")
}

func TestKilledContainTakesTheProgramWithIt(t *testing.T) {
	p := start(t, "-chroot", rootfs(t), "--", "probe", "wait")
	p.waitLine(t, "ready")
	pid := initPID(t)
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
	waitFor(t, "the program to end", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	sweep(t)
}

// What the caller ignores the program ignores, as if contain were not there.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	ignored := func(trap string, command ...string) string {
		args := append([]string{"-c", `[ -z "$0" ] || trap '' $0; exec "$@"`, trap}, command...)
		r := startCommand(t, exec.Command("sh", append(args, "cat", "/proc/self/status")...)).wait(t)
		return field(r.stdout, "SigIgn")
	}
	for _, trap := range []string{"HUP", "INT QUIT TERM PIPE USR1", ""} {
		bare := ignored(trap, probePath)
		if got := ignored(trap, containPath, "-chroot", root, "probe"); got != bare || len(got) != 16 {
			t.Errorf("with %q ignored SigIgn is %s, want %s as without contain", trap, got, bare)
		}
	}
}
