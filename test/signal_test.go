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
	p.passesOn(t, sigs)
}

// passesOn sends the signals, one after the other, to a contain whose program prints them
// and ends after the last.
func (p *process) passesOn(t *testing.T, sigs []int) {
	t.Helper()
	want := "ready\n"
	for _, sig := range sigs {
		p.signal(t, syscall.Signal(sig))
		p.waitLine(t, itoa(sig))
		want += itoa(sig) + "\n"
	}
	p.wait(t).want(t, 0, want)
}

// A signal that comes while contain starts either ends contain before the
// program has run, or reaches the program. It is never lost.
func TestSignalDuringTheStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	const parallel = 8
	rounds := often(38)
	begin := func() *process { return start(t, "-chroot", root, "--", "probe", "signals", "1") }
	// How long the start takes on this machine, so that the signals fall into it.
	began := time.Now()
	var first [parallel]*process
	for i := range first {
		first[i] = begin()
	}
	for _, p := range first {
		p.waitLine(t, "ready")
		p.signal(t, syscall.SIGTERM)
		p.wait(t).want(t, 0, "ready\n15\n")
	}
	window := max(25*time.Millisecond, time.Since(began))
	before, after := 0, 0
	for round := range rounds {
		var ps [parallel]*process
		var delays [parallel]time.Duration
		sent := make(chan error, parallel)
		for i := range ps {
			delays[i] = window * time.Duration(i*rounds+round) / time.Duration(parallel*rounds)
			ps[i] = begin()
			time.AfterFunc(delays[i], func() { sent <- ps[i].cmd.Process.Signal(syscall.SIGTERM) })
		}
		for range ps {
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
		for i, p := range ps {
			switch r := p.wait(t); {
			case r.status == syscall.WaitStatus(syscall.SIGTERM) && r.stdout == "" && r.stderr == "":
				before++
			case r.status == 0 && r.stdout == "ready\n15\n" && r.stderr == "":
				after++
			default:
				t.Fatalf("TERM after %v: wait status %#x, stdout %q, stderr %q", delays[i], r.status, r.stdout, r.stderr)
			}
		}
	}
	t.Logf("%d starts, TERM within %v: %d ended before the program had a handler, %d programs got it", rounds*parallel, window, before, after)
	if before+after != rounds*parallel || before == 0 {
		t.Errorf("%d and %d of %d", before, after, rounds*parallel)
	}
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
	root := rootfs(t)
	for _, args := range [][]string{{}, {"-user", "1000"}, {"-init=false"}, {"-init=false", "-user", "1000"}} {
		p := start(t, append(append([]string{"-chroot", root}, args...), "--", "probe", "wait")...)
		p.waitLine(t, "ready")
		pid := initPID(t)
		p.signal(t, syscall.SIGKILL)
		p.wait(t)
		waitFor(t, "the program to end", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
		sweep(t)
	}
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
