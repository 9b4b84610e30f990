package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestExitCodeIsTheProgramsOwn(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, code := range []int{0, 1, 2, 42, 124, 125, 126, 127, 128, 137, 254, 255} {
		r := contain(t, "-chroot", root, "--", "probe", "exit", strconv.Itoa(code))
		r.want(t, code, "")
		if r.status.Signaled() || r.stderr != "" {
			t.Errorf("exit %d: wait status %#x, stderr %q", code, r.status, r.stderr)
		}
	}
}

func TestDiesOfTheSameSignal(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	r := contain(t, "-chroot", root, "probe", "segv")
	if !r.status.Signaled() || r.status.Signal() != syscall.SIGSEGV || r.status.CoreDump() {
		t.Errorf("after SIGSEGV: wait status %#x", r.status)
	}
	p := start(t, "-chroot", root, "probe", "wait")
	p.waitLine(t, "ready")
	syscall.Kill(initPID(t), syscall.SIGKILL)
	r = p.wait(t)
	if !r.status.Signaled() || r.status.Signal() != syscall.SIGKILL || r.stderr != "" {
		t.Errorf("after SIGKILL of the program: wait status %#x, stderr %q", r.status, r.stderr)
	}
}

// Every signal that ends a process ends contain as it ends the bare program,
// the core file aside.
func TestEveryFatalSignal(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for i, sig := range append(forwardable(), int(syscall.SIGKILL)) {
		if leftOut(i) {
			continue
		}
		switch syscall.Signal(sig) {
		case syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
			continue
		}
		bare := startCommand(t, exec.Command(probePath, "raise", strconv.Itoa(sig))).wait(t)
		r := contain(t, "-chroot", root, "--", "probe", "raise", strconv.Itoa(sig))
		if r.status != bare.status&^0x80 || r.stdout != "" || r.stderr != "" {
			t.Errorf("signal %d: wait status %#x, bare %#x, stdout %q, stderr %q", sig, r.status, bare.status, r.stdout, r.stderr)
		}
	}
}

// contain dies of the program's signal, and writes no core file for it.
func TestNoCoreFile(t *testing.T) {
	leavesNothing(t)
	cmd := exec.Command("sh", "-c", `ulimit -c unlimited; exec "$0" "$@"`, containPath, "-chroot", rootfs(t), "--", "probe", "segv")
	cmd.Dir = t.TempDir()
	r := startCommand(t, cmd).wait(t)
	if !r.status.Signaled() || r.status.Signal() != syscall.SIGSEGV || r.status.CoreDump() {
		t.Errorf("wait status %#x, stderr %q", r.status, r.stderr)
	}
	if files, _ := os.ReadDir(cmd.Dir); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
}

func TestWithoutInitTheProgramIsPID1(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for init, want := range map[string]string{"-init=false": "1", "-init=true": ""} {
		r := contain(t, "-chroot", root, init, "--", "probe", "cat", "/proc/self/status")
		if pid := field(r.stdout, "Pid"); r.code() != 0 || pid == "" || (pid == "1") != (want == "1") {
			t.Errorf("%s: the program is PID %q, status %d, stderr %q", init, pid, r.code(), r.stderr)
		}
		contain(t, "-chroot", root, init, "--", "probe", "exit", "42").want(t, 42, "")
		contain(t, "-chroot", root, init, "--", "/proc/nosuchprogram").wantError(t, 127, "/proc/nosuchprogram")
		contain(t, "-chroot", root, init, "--", "/proc/version").wantError(t, 126, "/proc/version")
	}
}

func TestTheInitIsSmall(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "--", "probe", "wait")
	p.waitLine(t, "ready")
	stat, err := os.ReadFile("/proc/" + itoa(initPID(t)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	status, err := os.ReadFile("/proc/" + strings.Fields(rest)[1] + "/status") // of its parent
	if err != nil {
		t.Fatal(err)
	}
	kB, err := strconv.Atoi(strings.TrimSuffix(field(string(status), "VmRSS"), " kB"))
	if field(string(status), "Name") != "contain-init" || err != nil || kB > 16 {
		t.Errorf("the init's status:\n%s", status)
	}
}

func TestSignalDeathInAShell(t *testing.T) {
	leavesNothing(t)
	cmd := exec.Command("sh", "-c", `"$0" "$@"; echo $?`, containPath, "-chroot", rootfs(t), "probe", "segv")
	out, err := cmd.Output()
	if err != nil || string(out) != "139\n" {
		t.Errorf("the shell's $? is %q (%v), want 139", out, err)
	}
}

func TestProgramsThatCannotStart(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("noexec", "#!/bin/probe\n", 0o644)
	write("garbage", "garbage\n", 0o755)
	write("empty", "", 0o755)
	write("script", "#!/no/such\n", 0o755)
	for i, c := range []struct {
		program string
		code    int
		text    string
	}{
		{"nope", 127, `"nope": not found`},
		{"/nope", 127, `"/nope": no such file`},
		{"", 127, `"": not found`},
		{"/bin", 126, `"/bin": is a directory`},
		{"/noexec", 126, `"/noexec": permission denied`},
		{"/script", 127, `"/no/such" of program "/script": no such file`},
		// These may be left to the kernel, which may have a handler for them.
		{"/garbage", 126, `exec format error`},
		{"/empty", 126, `exec format error`},
	} {
		contain(t, "-chroot", root, "--", c.program).wantError(t, c.code, c.text)
		if entries, _ := os.ReadDir(root); i < 6 && len(entries) != 5 {
			t.Errorf("%s: a failed start left something in the rootfs: %v", c.program, entries)
		}
	}
}

func TestTwoHundredRunsInAShellLoop(t *testing.T) {
	leavesNothing(t)
	script := `i=0; while [ $i -lt $2 ]; do
		"$0" -chroot "$1" -- probe exit $i </dev/null; s=$?
		[ $s = $i ] || echo "run $i ended with $s"
		i=$((i+1)); done`
	out, err := exec.Command("sh", "-c", script, containPath, rootfs(t), itoa(often(200))).CombinedOutput()
	if err != nil || len(out) != 0 {
		t.Errorf("%v, output %q", err, out)
	}
}
