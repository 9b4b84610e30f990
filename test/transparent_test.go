package test

import (
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// bareAndContained are the words before the probe's verb: the program as it is,
// and contained.
func bareAndContained(root string) [2][]string {
	return [2][]string{{probePath}, {containPath, "-chroot", root, "--", "probe"}}
}

// fatalSignals lists the signals that end a process that has no handler.
func fatalSignals() []int {
	harmless := []int{int(syscall.SIGCONT), int(syscall.SIGWINCH), int(syscall.SIGTSTP), int(syscall.SIGTTIN), int(syscall.SIGTTOU)}
	sigs := slices.DeleteFunc(forwardable(), func(sig int) bool { return slices.Contains(harmless, sig) })
	return append(sigs, int(syscall.SIGKILL))
}

// endings lists ways to end for the loops of the shells: "raise S" for every
// fatal signal, "exit N" for every fifth code and those at the edges.
func endings() (words []string) {
	edges := []int{1, 124, 125, 126, 127, 128, 129, 137, 143, 254, 255}
	for code := range 256 {
		if code%5 == 0 || slices.Contains(edges, code) {
			words = append(words, fmt.Sprint("exit ", code))
		}
	}
	for _, sig := range fatalSignals() {
		words = append(words, fmt.Sprint("raise ", sig))
	}
	if testing.Short() {
		words = []string{"exit 0", "exit 5", "exit 125", "exit 255", "raise 9", "raise 13", "raise 15", "raise 64"}
	}
	return append(words, "abort", "segv")
}

// Every exit code gives the raw wait status that the bare program gives.
// (TestEveryFatalSignal does the same for signals.)
func TestEveryExitCode(t *testing.T) {
	leavesNothing(t)
	ways := bareAndContained(rootfs(t))
	for code := range 256 {
		if leftOut(code) && code != 255 {
			continue
		}
		var r [2]result
		for i, way := range ways {
			cmd := exec.Command(way[0], append(way[1:], "exit", itoa(code))...)
			r[i] = startCommand(t, cmd).wait(t)
		}
		if r[1] != r[0] || r[0].status != syscall.WaitStatus(code<<8) {
			t.Errorf("exit %d: bare %+v, contained %+v", code, r[0], r[1])
		}
	}
}

// abort(3) ends contain by SIGABRT, and it alone.
func TestAbort(t *testing.T) {
	leavesNothing(t)
	r := contain(t, "-chroot", rootfs(t), "--", "probe", "abort")
	if r.status != syscall.WaitStatus(syscall.SIGABRT) || r.stdout != "" || r.stderr != "" {
		t.Errorf("wait status %#x, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
}

// Shells may print the pid of a command that was killed, in a column of its own,
// and whether there is a core.
var pidsAndCores = regexp.MustCompile(`[ \d]+|\(core dumped\)`)

// inShell runs a script once for the bare program and once for the contained one,
// as "$@", and wants the same outcome of both, which it returns.
func inShell(t *testing.T, shell, script, input string) result {
	t.Helper()
	var r [2]result
	for i, way := range bareAndContained(rootfs(t)) {
		cmd := exec.Command(shell, append([]string{"-c", script, "shell"}, way...)...)
		cmd.Stdin = strings.NewReader(input)
		r[i] = startCommand(t, cmd).wait(t)
		r[i].stderr = pidsAndCores.ReplaceAllString(r[i].stderr, "")
	}
	if r[0] != r[1] {
		t.Errorf("%s -c %q: bare\n%+v\ncontained\n%+v", shell, script, r[0], r[1])
	}
	return r[0]
}

// wantLines fails the test unless the output has a line for each of the endings.
func wantLines(t *testing.T, r result, lines ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if len(got) != len(endings()) || r.code() != 0 {
		t.Errorf("status %d, %d lines for %d endings: %q", r.code(), len(got), len(endings()), r.stdout)
	}
	for _, line := range lines {
		if !slices.Contains(got, line) {
			t.Errorf("no line %q in %q", line, got)
		}
	}
}

// A shell's $? is that of the bare program, and so is what it says on stderr.
func TestStatusInAShell(t *testing.T) {
	leavesNothing(t)
	script := `while read -r how; do "$@" $how </dev/null; echo "$how: $?"; done`
	r := inShell(t, "sh", script, strings.Join(endings(), "\n")+"\n")
	wantLines(t, r, "exit 0: 0", "exit 125: 125", "exit 255: 255", "raise 15: 143", "raise 9: 137", "raise 64: 192", "abort: 134", "segv: 139")
}

// In a pipeline too, first and last, with and without pipefail.
func TestStatusInAPipeline(t *testing.T) {
	leavesNothing(t)
	script := `exec 3>&2 2>/dev/null # which jobs it has seen end, depends on who is first
		while read -r how; do
		"$@" $how </dev/null 2>&3 | cat; s="${PIPESTATUS[*]}"
		case $how in *0|*5) set -o pipefail;; *) set +o pipefail;; esac
		true | "$@" $how 2>&3 | cat; echo "$how: $s, $?"; done`
	few := slices.DeleteFunc(endings(), func(how string) bool { return strings.HasPrefix(how, "exit") && !strings.HasSuffix(how, "5") })
	r := inShell(t, "bash", script, strings.Join(few, "\n")+"\n")
	for _, line := range []string{"exit 5: 5 0, 5", "exit 255: 255 0, 255", "raise 15: 143 0, 143", "raise 9: 137 0, 0", "abort: 134 0, 0"} {
		if !strings.Contains(r.stdout, line+"\n") || strings.Count(r.stdout, "\n") != len(few) {
			t.Errorf("no line %q in %q", line, r.stdout)
		}
	}
	// A reader that goes away is SIGPIPE.
	r = inShell(t, "bash", `"$@" cat /dev/zero | head -c 1000 >/dev/null; echo ${PIPESTATUS[*]}`, "")
	r.want(t, 0, "141 0\n")
}

// A shell that ends with the program ends as the program.
func TestStatusOfTheShell(t *testing.T) {
	leavesNothing(t)
	for i, how := range []string{"exit 0", "exit 3", "exit 255", "raise 2", "raise 15", "raise 40", "abort"} {
		if leftOut(i) {
			continue
		}
		for _, shell := range []string{"sh", "bash"} {
			inShell(t, shell, `"$@" `+how, "")
			inShell(t, shell, `set -e; "$@" `+how+`; echo survived`, "")
			inShell(t, shell, `exec "$@" `+how, "")
		}
	}
}

// kill(1) in a shell ends a contained program with 143, as it ends a bare one.
func TestKillInAShell(t *testing.T) {
	leavesNothing(t)
	script := `coproc "$@" wait; read -r line <&${COPROC[0]}; echo $line
		pid=$COPROC_PID; kill $pid; wait $pid; echo $?`
	inShell(t, "bash", script, "").want(t, 0, "ready\n143\n")
}

// interruptLoop runs a shell's loop in a process group of its own and sends that
// SIGINT each time that the program says ready.
func interruptLoop(t *testing.T, times int, command ...string) result {
	t.Helper()
	script := `for i in 1 2 3; do "$@"; echo "$i ended: $?"; done; echo end of the loop`
	p := asJob(t, "bash", append([]string{"-c", script, "bash"}, command...)...)
	group := -p.cmd.Process.Pid
	t.Cleanup(func() { syscall.Kill(group, syscall.SIGTERM) }) // of a loop that went on
	for n := 1; n <= times; n++ {
		waitFor(t, "run "+strconv.Itoa(n), func() bool { return strings.Count(p.stdout.String(), "ready\n") == n })
		if err := syscall.Kill(group, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	return p.wait(t)
}

// Control-C ends a loop around a program that dies of it, and no loop around one
// that handles it: contain makes no difference to either.
func TestInterruptOfALoop(t *testing.T) {
	leavesNothing(t)
	for _, way := range bareAndContained(rootfs(t)) {
		r := interruptLoop(t, 1, slices.Concat(way, []string{"wait"})...)
		if r.status != syscall.WaitStatus(syscall.SIGINT) || r.stdout != "ready\n" {
			t.Errorf("%s: wait status %#x, stdout %q, stderr %q", way[0], r.status, r.stdout, r.stderr)
		}
		r = interruptLoop(t, 3, slices.Concat(way, []string{"signals", "1"})...)
		r.want(t, 0, "ready\n2\n1 ended: 0\nready\n2\n2 ended: 0\nready\n2\n3 ended: 0\nend of the loop\n")
	}
}

// How late the kernel may wake it is the caller's, not that of the Go runtime's monitor.
func TestTimerSlack(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	runtime.LockOSThread() // who forks hands it on
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	must(t, err)
	defer func() { must(t, unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)) }()
	for _, slack := range []string{"50000", "1", "12345678"} {
		n, err := strconv.Atoi(slack)
		must(t, err, unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(n), 0, 0, 0))
		for _, flag := range []string{"-init", "-init=false"} {
			contain(t, "-chroot", root, flag, "--", "probe", "cat", "/proc/self/timerslack_ns").want(t, 0, slack+"\n")
		}
	}
}
