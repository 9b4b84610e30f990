package test

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestUsageErrors(t *testing.T) {
	leavesNothing(t)
	for _, c := range []struct {
		args []string
		text string
	}{
		{nil, "-chroot is required"},
		{[]string{"init"}, "-chroot is required"},
		{[]string{"-nope"}, "-nope"},
		{[]string{"-chroot"}, "-chroot"},
		{[]string{"-chroot", "/tmp"}, "no program given"},
		{[]string{"-chroot", "", "prog"}, `-chroot "": empty`},
		{[]string{"-chroot", "/no\nsuch", "prog"}, `-chroot "/no\nsuch": no such file`},
		{[]string{"-chroot", "/", "prog"}, "is the host's own /"},
		{[]string{"-chroot", "/proc/self/root", "prog"}, "is the host's own /"},
		{[]string{"-chroot", "/etc/passwd", "prog"}, "not a directory"},
		{[]string{"-chroot", "/sys", "prog"}, "pseudo file system"},
		{[]string{"-chroot", "/tmp", "-memory-limit", "99999999P", "prog"}, `-memory-limit "99999999P": too large`},
		{[]string{"-chroot", "/tmp", "-memory-limit", "0.4", "prog"}, `-memory-limit "0.4": below`},
		{[]string{"-chroot", "/tmp", "-cpu-core-ids", "0\n1", "prog"}, `-cpu-core-ids "0\n1": not a list`},
		{[]string{"-chroot", "/tmp", "-network-address", "10.0.0.1", "prog"}, "prefix length is missing"},
		{[]string{"-chroot", rootfs(t), "-state-dir", "/\xff", "probe"}, "not valid UTF-8"},
	} {
		r := contain(t, c.args...)
		r.wantError(t, 125, c.text)
		if r.stdout != "" {
			t.Errorf("%q printed %q", c.args, r.stdout)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, flag := range []string{"-h", "-help", "--help"} {
		if r := contain(t, flag); r.code() != 0 || r.stderr != "" || len(r.stdout) < 1000 {
			t.Errorf("%s: status %d, stderr %q, %d bytes", flag, r.code(), r.stderr, len(r.stdout))
		}
	}
	if r := contain(t, "-version"); r.code() != 0 || r.stderr != "" || len(r.stdout) < 20 {
		t.Errorf("-version: status %d, stderr %q, stdout %q", r.code(), r.stderr, r.stdout)
	}
}

func TestMustBeRoot(t *testing.T) {
	cmd := exec.Command(containPath, "-chroot", rootfs(t), "--", "probe", "exit", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	startCommand(t, cmd).wait(t).wantError(t, 125, "must be run as root")
}

func TestCallersEnvironmentCannotTakeOver(t *testing.T) {
	leavesNothing(t)
	for _, name := range []string{"_LIBCONTAINER_INITPIPE", "_LIBCONTAINER_SYNCPIPE", "_LIBCONTAINER_FIFOFD", "GOMAXPROCS", "GODEBUG"} {
		t.Setenv(name, "9")
	}
	contain(t, "init").wantError(t, 125, "-chroot is required")
	contain(t, "-chroot", rootfs(t), "--", "probe", "exit", "7").want(t, 7, "")
}
