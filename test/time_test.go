package test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soon is a time limit within which any program has started.
func soon() string { return loose("300ms", "4s") }

// seconds reads what soon and others give.
func seconds(t *testing.T, s string) float64 {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d.Seconds()
}

// timeoutCase is a program that is ended by a time limit, and how.
type timeoutCase struct{ name, flags, program, stdout, how string }

const (
	byTerm = " exceeded, ended by SIGTERM"
	atOnce = " exceeded, killed"
)

func (c timeoutCase) run(t *testing.T) {
	leavesNothing(t)
	least := seconds(t, soon())
	if strings.HasSuffix(c.how, "after SIGTERM") {
		least += seconds(t, strings.Fields(c.how)[2])
	}
	most := least + loose(1.0, 10)
	args := append([]string{"-chroot", rootfs(t), "-timeout", soon()}, strings.Fields(c.flags)...)
	p := startReporting(t, append(append(args, "--", "probe"), strings.Fields(c.program)...)...)
	r, rep := p.endWithin(t, most+1)
	if r.code() != 124 || r.stdout != c.stdout || r.stderr != "contain: time limit of "+soon()+c.how+"\n" {
		t.Errorf("status %d, stdout %q, stderr %q", r.code(), r.stdout, r.stderr)
	}
	rep.wantEnd(t, "run", "timeout", 124, anyEnd, anyEnd)
	if killed := strings.Contains(c.how, "killed"); rep.Killed == nil || *rep.Killed != killed || killed && (rep.Signal == nil || *rep.Signal != 9) {
		t.Errorf("killed %v, signal %v", rep.Killed, rep.Signal)
	}
	if !(rep.wall() >= least && rep.wall() <= most) {
		t.Errorf("it ended after %v s, want %v to %v", rep.wall(), least, most)
	}
	if left := programs(t); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

// A program that has used up its CPU time for now does not live on for it.
func TestTimeoutUnderAQuota(t *testing.T) {
	timeoutCase{"", "-cpus 0.01 -grace 0", "burn 0 30", "", atOnce}.run(t)
}

// However a program takes SIGTERM, after a time limit the status is 124.
func TestTimeout(t *testing.T) {
	grace := loose("250ms", "1s")
	byKill := " exceeded, killed " + grace + " after SIGTERM"
	for _, c := range []timeoutCase{
		{"default action", "-grace 60s", "wait", "ready\n", byTerm},
		{"exits 0 at TERM", "-grace 60s", "signals 1", "ready\n15\n", byTerm},
		{"ignores TERM", "-grace " + grace, "ignore 15 /bin/probe wait", "ready\n", byKill},
		{"no grace", "-grace 0", "signals 1", "ready\n", atOnce},
		{"daemons too", "-grace " + grace, "ignore 15 /bin/probe daemon 0 /bin/probe wait", "ready\n", byKill},
	} {
		t.Run(c.name, c.run)
	}
}

// A program that is PID 1 has no default action for SIGTERM.
func TestTimeoutWithoutInit(t *testing.T) {
	grace := loose("250ms", "1s")
	byKill := " exceeded, killed " + grace + " after SIGTERM"
	for _, c := range []timeoutCase{
		{"no handler", "-init=false -grace " + grace, "wait", "ready\n", byKill},
		{"exits 0 at TERM", "-init=false -grace 60s", "signals 1", "ready\n15\n", byTerm},
		{"no grace", "-init=false -grace 0", "wait", "ready\n", atOnce},
	} {
		t.Run(c.name, c.run)
	}
}

// A program cannot escape by stopping itself, nor with it what it has started.
func TestTimeoutOfAStoppedProgram(t *testing.T) {
	for _, c := range []timeoutCase{
		{"default action", "-grace 60s", "raise 19", "", byTerm},
		{"ignores TERM", "-grace 60s", "ignore 15 /bin/probe raise 19", "survived\n", byTerm},
		{"no grace", "-grace 0", "raise 19", "", atOnce},
		{"stops for TERM", "-grace " + loose("500ms", "2s"), "stopterm", "", atOnce + " " + loose("500ms", "2s") + " after SIGTERM"},
	} {
		t.Run(c.name, c.run)
	}
}

// A program that ends within its limits ends as if there were none.
func TestProgramThatEndsInTime(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, flag := range []string{"-timeout", "-cpu-time"} {
		for _, init := range []string{"-init=true", "-init=false"} {
			r, rep := reported(t, "-chroot", root, flag, "60s", init, "--", "probe", "exit", "7")
			r.want(t, 7, "")
			rep.wantEnd(t, "run", "exited", 7, 7, -1)
			if r.stderr != "" {
				t.Errorf("%s: stderr %q", flag, r.stderr)
			}
		}
	}
	// Just below the limit, and a signal of somebody else's.
	below := loose("200", "500")
	contain(t, "-chroot", root, "-timeout", loose("1s", "30s"), "--", "probe", "sleep", below).want(t, 0, "slept\n")
	r, rep := reported(t, "-chroot", root, "-timeout", "60s", "--", "probe", "raise", "15")
	r.want(t, 143, "")
	rep.wantEnd(t, "run", "signal", 143, -1, 15)
}

// All of a large tree is gone soon after the limit.
func TestTimeoutOfACrowd(t *testing.T) {
	leavesNothing(t)
	limit := loose("2s", "30s")
	began := time.Now()
	r, rep := reported(t, "-chroot", rootfs(t), "-timeout", limit, "-grace", "0", "--", "probe", "ignore", "15", "/bin/probe", "crowd", itoa(often(1000)))
	took := time.Since(began).Seconds()
	r.wantError(t, 124, "exceeded, killed")
	if most := seconds(t, limit) + loose(1.0, 15); r.stdout != "ready\n" || rep.wall() > most || took > most+loose(0.5, 5) {
		t.Errorf("stdout %q, ended after %v s, gone after %v s; want %v", r.stdout, rep.wall(), took, most)
	}
	if left := programs(t); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
	t.Logf("ended %.3f s after the start, gone after %.3f s", rep.wall(), took)
}

// A contain that is stopped over the limit ends the program when it is resumed.
func TestTimeoutWhileContainIsStopped(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, flags := range [][]string{{"-timeout", soon()}, {"-cpu-time", soon()}} {
		p := startReporting(t, append(flags, "-grace", "0", "-chroot", root, "--", "probe", "burn", "0", "1")...)
		waitFor(t, "the program to start", func() bool { return len(programs(t)) == 1 })
		p.signal(t, syscall.SIGSTOP)
		pid := itoa(programs(t)[0])
		// The limit is well over, by either clock.
		time.Sleep(time.Duration(2 * seconds(t, soon()) * float64(time.Second)))
		waitFor(t, "the program to use CPU time", func() bool { return schedTime(t, pid) > seconds(t, soon()) })
		if got := programs(t); len(got) != 1 || p.ended.Load() {
			t.Errorf("%s: while contain is stopped the programs are %v", flags[0], got)
		}
		p.signal(t, syscall.SIGCONT)
		began := time.Now()
		r, rep := p.end(t)
		r.wantError(t, 124, "exceeded, killed")
		if took := time.Since(began).Seconds(); took > loose(1.0, 10) || rep.wall() < 2*seconds(t, soon()) {
			t.Errorf("%s: it ended %v s after it was resumed, %v s after the start", flags[0], took, rep.wall())
		}
	}
}

// schedTime is the CPU time of a process, in seconds.
func schedTime(t *testing.T, pid string) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/schedstat")
	var ns float64
	if _, scanErr := fmt.Sscan(string(text), &ns); err != nil || scanErr != nil {
		t.Fatal(err, scanErr)
	}
	return ns / 1e9
}

// The CPU time of all processes counts, of those that run at once and of those
// that have ended; to sleep costs nothing.
func TestCPUTimeLimit(t *testing.T) {
	limit := loose("1s", "4s")
	for program, flags := range map[string]string{
		"burn 0 1": "-grace 60s", "burn 0 2": "-grace 60s", "burn 0 3": "-grace 0",
		"repeat 10000 /bin/probe spend 100": "-grace 0", "daemon 0 /bin/probe burn 0 2": "-grace 0",
	} {
		t.Run(program, func(t *testing.T) { endOfCPUTime(t, limit, flags, program) })
	}
	leavesNothing(t)
	root := rootfs(t)
	contain(t, "-chroot", root, "-cpu-time", loose("200ms", "3s"), "--", "probe", "sleep", loose("600", "4000")).want(t, 0, "slept\n")
	contain(t, "-chroot", root, "-cpu-time", limit, "--", "probe", "spend", loose("800", "3000")).want(t, 0, "spent\n")
}

// endOfCPUTime fails the test unless the program is ended for its limit in time.
func endOfCPUTime(t *testing.T, limit, flags, program string) {
	leavesNothing(t)
	args := append([]string{"-chroot", rootfs(t), "-cpu-time", limit}, strings.Fields(flags)...)
	p := startReporting(t, append(append(args, "--", "probe"), strings.Fields(program)...)...)
	r, rep := p.endWithin(t, loose(4.0, 40))
	r.wantError(t, 124, "CPU time limit of "+limit+" exceeded")
	rep.wantEnd(t, "run", "cpu-time", 124, anyEnd, anyEnd)
	near(t, "CPU time", rep.cpu(), seconds(t, limit), loose(0.1, 0.25))
}

func TestCPUTimeLimitWithoutInit(t *testing.T) {
	endOfCPUTime(t, loose("1s", "4s"), "-init=false -grace 0", "ignore 15 /bin/probe burn 0 2")
}

// A CPU time limit asks too before it kills.
func TestCPUTimeLimitAsksFirst(t *testing.T) {
	leavesNothing(t)
	r, rep := reported(t, "-chroot", rootfs(t), "-cpu-time", soon(), "-grace", soon(), "--", "probe", "ignore", "15", "/bin/probe", "burn", "0", "1")
	r.wantError(t, 124, "CPU time limit of "+soon()+" exceeded, killed "+soon()+" after SIGTERM")
	if rep.wall() < 2*seconds(t, soon()) {
		t.Errorf("it ended after %v s", rep.wall())
	}
}
