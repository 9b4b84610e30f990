package test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// masks returns what the program of a command sees of its signals: ignored,
// blocked and handled. The command is to print /proc/self/status.
func masks(t *testing.T, command ...string) string {
	t.Helper()
	r := startCommand(t, exec.Command(command[0], command[1:]...)).wait(t)
	if r.code() != 0 || r.stderr != "" {
		t.Errorf("%q: status %d, stderr %q", command, r.code(), r.stderr)
	}
	return fmt.Sprint("SigIgn ", field(r.stdout, "SigIgn"), " SigBlk ", field(r.stdout, "SigBlk"), " SigCgt ", field(r.stdout, "SigCgt"))
}

// oddCallers are commands that execute their arguments with unusual signals.
func oddCallers() map[string][]string {
	return map[string][]string{
		"nothing special":     {"env"},
		"nohup":               {probePath, "ignore", "1"},
		"ignores SIGPIPE":     {probePath, "ignore", "13"},
		"ignores the shell's": {probePath, "ignore", "2,3,15,20,21,22"},
		"ignores real-time":   {probePath, "ignore", "34,35,40,64"},
		"blocks all":          {probePath, "block"},
		"blocks and ignores":  {probePath, "block", probePath, "ignore", "1,2,13,15"},
	}
}

// Whatever the caller blocks and ignores, the program has it so, and the exit
// status is right.
func TestSignalsOfTheCaller(t *testing.T) {
	leavesNothing(t)
	ways := bareAndContained(rootfs(t))
	for name, caller := range oddCallers() {
		t.Run(name, func(t *testing.T) { compareUnder(t, ways, caller) })
	}
}

// compareUnder compares the bare program with the contained one, started by caller.
func compareUnder(t *testing.T, ways [2][]string, caller []string) {
	t.Helper()
	var seen [2]string
	for i, way := range ways {
		seen[i] = masks(t, slices.Concat(caller, way, []string{"cat", "/proc/self/status"})...)
	}
	if seen[0] != seen[1] {
		t.Errorf("bare\n%s, contained\n%s", seen[0], seen[1])
	}
	compareEndings(t, ways, caller)
}

func compareEndings(t *testing.T, ways [2][]string, caller []string) {
	t.Helper()
	for _, how := range [][]string{{"exit", "0"}, {"exit", "42"}, {"segv"}, {"abort"}, {"raise", "9"}} {
		var r [2]result
		for i, way := range ways {
			command := slices.Concat(caller, way, how)
			r[i] = startCommand(t, exec.Command(command[0], command[1:]...)).wait(t)
			r[i].status &^= 0x80 // the core file
		}
		if r[0] != r[1] {
			t.Errorf("%q: bare %+v, contained %+v", how, r[0], r[1])
		}
	}
}

// A caller that ignores SIGCHLD, as bash does after trap ” CHLD, would make the
// kernel reap contain's children for it.
func TestCallerIgnoresSIGCHLD(t *testing.T) {
	leavesNothing(t)
	ways := bareAndContained(rootfs(t))
	for _, list := range []string{"17", "23", "17,23,13", "all"} {
		compareEndings(t, ways, []string{probePath, "ignore", list})
	}
	inShell(t, "bash", `trap '' CHLD; for c in 0 1 42 255; do "$@" exit $c; echo $?; done; exec "$@" exit 7`, "").
		want(t, 7, "0\n1\n42\n255\n")
	inShell(t, "sh", `trap '' CHLD; "$@" exit 3; echo $?; exec "$@" abort`, "").want(t, 134, "3\n")
}

// A signal that the caller has blocked stays pending in the program, which lives.
func TestBlockedSignalStaysPending(t *testing.T) {
	leavesNothing(t)
	p := startCommand(t, exec.Command(probePath, "block", containPath, "-chroot", rootfs(t), "--", "probe", "wait"))
	p.waitLine(t, "ready")
	pid := initPID(t)
	p.signal(t, syscall.SIGTERM)
	p.signal(t, syscall.SIGUSR1)
	waitFor(t, "the signals to be pending", func() bool { return field(readStatus(t, pid), "ShdPnd") == "0000000000004200" })
	if state := field(readStatus(t, pid), "State"); !strings.HasPrefix(state, "S") {
		t.Errorf("the program's state is %q", state)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	if r := p.wait(t); r.status != syscall.WaitStatus(syscall.SIGKILL) || r.stderr != "" {
		t.Errorf("wait status %#x, stderr %q", r.status, r.stderr)
	}
}

// Programs that wait for signals they block get what a caller that blocks all
// sends to contain.
func TestBlockedSignalsReachTheProgram(t *testing.T) {
	leavesNothing(t)
	sigs := forwardable()
	p := startCommand(t, exec.Command(probePath, "block", containPath, "-chroot", rootfs(t), "--", "probe", "signals", itoa(len(sigs))))
	p.waitLine(t, "ready")
	p.passesOn(t, sigs)
}

func TestEachIgnoredSignal(t *testing.T) {
	leavesNothing(t)
	ways := bareAndContained(rootfs(t))
	for sig := 1; sig <= 64; sig++ {
		if leftOut(sig) && sig != 17 {
			continue
		}
		t.Run(itoa(sig), func(t *testing.T) {
			var seen [2]string
			for i, way := range ways {
				seen[i] = masks(t, slices.Concat([]string{probePath, "ignore", itoa(sig)}, way, []string{"cat", "/proc/self/status"})...)
			}
			if seen[0] != seen[1] {
				t.Errorf("bare\n%s, contained\n%s", seen[0], seen[1])
			}
		})
	}
}

// Variables that are for Go's runtime, C's, or libcontainer, change nothing.
func TestEnvironmentOfTheCaller(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	covered := t.TempDir()
	for i, variable := range []string{
		"GOMAXPROCS=1", "GOMAXPROCS=999", "GOMAXPROCS=x", "GOMAXPROCS=100000", "GOMAXPROCS=-1", "GODEBUG=x", "GODEBUG=asyncpreemptoff=1",
		"GODEBUG=clobberfree=1", "GODEBUG=panicnil=1,execerrdot=0", "GODEBUG=gcstoptheworld=2", "GOTRACEBACK=crash",
		"GOTRACEBACK=x", "GOGC=1", "GOGC=off", "GOGC=x", "GOMEMLIMIT=1", "GOMEMLIMIT=x",
		"GODEBUG=inittrace=1", "GODEBUG=schedtrace=1", "GODEBUG=fips140=x", "GOCOVERDIR=" + covered, "GOCOVERDIR=/nosuch",
		"LD_PRELOAD=/nosuch", "LD_LIBRARY_PATH=/nosuch", "GLIBC_TUNABLES=glibc.malloc.perturb=85", "TMPDIR=/nosuch",
		"_LIBCONTAINER_INITPIPE=0", "_LIBCONTAINER_LOGPIPE=1", "_LIBCONTAINER_FIFOFD=2", "_LIBCONTAINER_LOGLEVEL=5",
		"LISTEN_FDS=3", "NOTIFY_SOCKET=/nosuch", "LC_ALL=de_DE.UTF-8", "HOME=", "PATH=", "container=other", "=", "x",
	} {
		if leftOut(i) {
			continue
		}
		t.Run(variable, func(t *testing.T) {
			run := func(args ...string) result {
				cmd := exec.Command(containPath, append([]string{"-chroot", root, "--", "probe"}, args...)...)
				cmd.Env = []string{variable}
				return startCommand(t, cmd).wait(t)
			}
			if r := run("env"); r != (result{stdout: "PATH=/bin:/usr/bin:/sbin:/usr/sbin\nHOME=/\ncontainer=contain\n"}) {
				t.Errorf("%+v", r)
			}
			if r := run("abort"); r != (result{status: syscall.WaitStatus(syscall.SIGABRT)}) {
				t.Errorf("%+v", r)
			}
		})
	}
	if files, _ := os.ReadDir(covered); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
}

// A descriptor of 0 to 2 that the caller has closed is /dev/null, and no other is
// there; nor does contain use it for something else.
func TestClosedDescriptors(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for closed := range 8 {
		redirect := ""
		for fd, text := range []string{" <&-", " >&-", " 2>&-"} {
			if closed>>fd&1 == 1 {
				redirect += text
			}
		}
		run := func(args ...string) result {
			cmd := exec.Command("sh", append([]string{"-c", `exec "$@"` + redirect, "sh", containPath}, args...)...)
			cmd.Stdin = strings.NewReader("") // a pipe
			return startCommand(t, cmd).wait(t)
		}
		run("-chroot", root, "--", "probe", "nulls").want(t, closed, "")
		run("-chroot", root, "-init=false", "--", "probe", "nulls").want(t, closed, "")
		if r := run("-chroot", root, "--", "nope"); r.code() != 127 || (r.stderr == "") != (closed&4 == 4) {
			t.Errorf("closed%s: status %d, stderr %q", redirect, r.code(), r.stderr)
		}
	}
}

// Limits that are too low for contain itself are named.
func TestLowLimitsOfTheCaller(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for option, text := range map[string]string{
		"-n 40": "the limit of open files (ulimit -n) is 40: too low", "-v 1000000": "(ulimit -v) is 1024000000: too low",
		"-d 100000": "(ulimit -d)", "-f 1": "(ulimit -f)", "-f 0": "(ulimit -f)", "-n 5": "(ulimit -n)",
	} {
		cmd := exec.Command("bash", "-c", "ulimit "+option+`; exec "$@"`, "bash", containPath, "-chroot", root, "--", "probe", "exit", "7")
		startCommand(t, cmd).wait(t).wantError(t, 125, text)
	}
	for _, option := range []string{"-n 64", "-v 1900000", "-d 400000", "-f 64"} {
		cmd := exec.Command("bash", "-c", "ulimit "+option+`; exec "$@"`, "bash", containPath, "-chroot", root, "-memory-limit", "64M", "--", "probe", "exit", "7")
		startCommand(t, cmd).wait(t).want(t, 7, "")
	}
}
