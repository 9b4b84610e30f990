package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the flags make of the program's credentials and its filter, as the kernel says,
// with and without pid1.
func TestCredentials(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	const all, none, nice = "00000000800425fb", "0000000000000000", "00000000808425fb"
	for _, c := range []struct {
		args string
		want map[string]string
	}{
		{"", map[string]string{"CapEff": all, "CapBnd": all, "Seccomp": "2", "NoNewPrivs": "1", "Uid": "0\t0\t0\t0"}},
		{"-cap-add CAP_SYS_nice", map[string]string{"CapEff": nice, "CapPrm": nice, "CapBnd": nice, "Seccomp": "2"}},
		{"-cap-drop ALL", map[string]string{"CapEff": none, "CapPrm": none, "CapBnd": none, "CapInh": none, "CapAmb": none, "Uid": "0\t0\t0\t0"}},
		{"-cap-drop ALL -cap-add CHOWN", map[string]string{"CapEff": "0000000000000001", "CapBnd": "0000000000000001"}},
		{"-cap-drop chown -cap-drop SETUID", map[string]string{"CapEff": "000000008004257a", "CapBnd": "000000008004257a"}},
		{"-user 1000", map[string]string{"Uid": "1000\t1000\t1000\t1000", "Gid": "1000\t1000\t1000\t1000", "Groups": "", "CapEff": none, "CapPrm": none, "CapBnd": all, "CapAmb": none, "Seccomp": "2"}},
		{"-user 0:7", map[string]string{"Uid": "0\t0\t0\t0", "Gid": "7\t7\t7\t7", "CapEff": all}},
		{"-user 1000:7 -cap-drop ALL", map[string]string{"Uid": "1000\t1000\t1000\t1000", "Gid": "7\t7\t7\t7", "CapBnd": none}},
		{"-allow-new-privs", map[string]string{"NoNewPrivs": "0", "CapEff": all, "CapBnd": all, "Seccomp": "2"}},
		{"-allow-new-privs -user 5", map[string]string{"NoNewPrivs": "0", "CapEff": none, "CapPrm": none, "CapBnd": all, "Seccomp": "2", "Uid": "5\t5\t5\t5"}},
		{"-seccomp none", map[string]string{"Seccomp": "0", "NoNewPrivs": "1", "CapEff": all}},
	} {
		for _, init := range []string{"-init=true", "-init=false"} {
			args := append([]string{"-chroot", root, init}, strings.Fields(c.args)...)
			r := contain(t, append(args, "--", "probe", "cat", "/proc/self/status")...)
			if r.code() != 0 {
				t.Errorf("%s %s: status %d, %q", c.args, init, r.code(), r.stderr)
			}
			for name, want := range c.want {
				if got := field(r.stdout, name); got != want {
					t.Errorf("%s %s: %s is %q, want %q", c.args, init, name, got, want)
				}
			}
		}
	}
}

// What surrounds the program.
func TestSurroundings(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	t.Setenv("OF_CALLER", "a b")
	t.Setenv("OTHER", "secret")
	if err := os.MkdirAll(filepath.Join(root, "etc", "private"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "etc", "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte("root:x:0:0::/root:/\nu:x:1000:1000::/home/u:/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result { return contain(t, append([]string{"-chroot", root}, args...)...) }
	run("-hostname", "web-1.example", "--", "probe", "cat", "/proc/sys/kernel/hostname").want(t, 0, "web-1.example\n")
	run("-sysctl", "net.ipv4.ip_default_ttl=7", "--", "probe", "cat", "/proc/sys/net/ipv4/ip_default_ttl").want(t, 0, "7\n")
	run("-sysctl", "kernel.msgmax=4242", "--", "probe", "cat", "/proc/sys/kernel/msgmax").want(t, 0, "4242\n")
	run("-env", "A=1", "-env", "A=2=3", "-env", "OF_CALLER", "-env", "NOBODY_HAS_IT", "-env", "HOME=\xff", "--", "probe", "env").
		want(t, 0, "PATH=/bin:/usr/bin:/sbin:/usr/sbin\nHOME=\xff\ncontainer=contain\nA=2=3\nOF_CALLER=a b\n")
	run("-user", "1000", "--", "probe", "env").want(t, 0, "PATH=/bin:/usr/bin:/sbin:/usr/sbin\nHOME=/home/u\ncontainer=contain\n")
	run("-env", "PATH=/nosuch:/bin", "--", "probe", "exit", "3").want(t, 3, "")
	run("-workdir", "/bin", "-env", "PATH=/nosuch:.", "--", "probe", "exit", "3").want(t, 3, "")
	run("-workdir", "/bin", "-env", "PATH=", "--", "probe", "exit", "3").want(t, 3, "")
	run("-env", "PATH=bin", "--", "probe", "exit", "4").want(t, 4, "")
	run("-env", "PATH=/nosuch", "--", "probe", "exit", "3").wantError(t, 127, `program "probe": not found in /nosuch`)
	run("-workdir", "/etc", "--", "/bin/probe", "cat", "passwd").want(t, 0, "root:x:0:0::/root:/\nu:x:1000:1000::/home/u:/\n")
	run("-workdir", "/bin", "--", "./probe", "exit", "4").want(t, 4, "")
	run("-workdir", "/nosuch", "--", "probe", "exit", "0").wantError(t, 125, `-workdir "/nosuch": no such file or directory`)
	run("-workdir", "/etc/passwd", "--", "probe", "exit", "0").wantError(t, 125, `-workdir "/etc/passwd": not a directory`)
	run("-workdir", "/etc/private", "-user", "1000", "--", "probe", "exit", "0").wantError(t, 125, `-workdir "/etc/private": permission denied`)
	for _, fd := range []string{"3", "4", "5", "6", "7", "8", "9", "10", "11"} { // the way of CVE-2024-21626
		run("-workdir", "/proc/self/fd/"+fd, "--", "probe", "exit", "0").wantError(t, 125, `-workdir "/proc/self/fd/`)
	}
}

// Files and devices.
func TestFilesAndDevices(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	run := func(args ...string) result { return contain(t, append([]string{"-chroot", root}, args...)...) }
	run("-read-only", "--", "probe", "create", "/new").wantError(t, 125, `has no directory proc, and is read-only`)
	run("--", "probe", "exit", "0").want(t, 0, "")
	run("-read-only", "--", "probe", "create", "/new").want(t, 1, "/new: Read-only file system\n")
	if r := run("-read-only", "--", "probe", "create", "/dev/shm/new"); r.code() != 0 {
		t.Errorf("/dev/shm: %q", r.stdout)
	}
	run("--", "probe", "open", "/dev/kmsg", "w").want(t, 1, "/dev/kmsg: No such file or directory\n")
	run("-device", "/dev/kmsg:w", "--", "probe", "open", "/dev/kmsg", "w").want(t, 0, "ok\n")
	run("-device", "/dev/kmsg:r", "--", "probe", "open", "/dev/kmsg", "w").want(t, 1, "/dev/kmsg: Operation not permitted\n")
	run("-device", "/dev/nosuch", "--", "probe", "exit", "0").wantError(t, 125, `-device "/dev/nosuch": no such file or directory`)
	mounts := func(args ...string) string {
		return run(append(args, "--", "probe", "cat", "/proc/self/mountinfo")...).stdout
	}
	for path, flag := range map[string]string{"/proc/keys": "/proc/keys", "/proc/sys": "/proc/sys", "/proc/bus": "ALL"} {
		if plain, un := mounts(), mounts("-unmask", flag); !strings.Contains(plain, " "+path+" ") || strings.Contains(un, " "+path+" ") {
			t.Errorf("-unmask %s: %s\nwithout:\n%s", flag, un, plain)
		}
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 7, 7); err != nil {
		t.Fatal(err)
	}
	copyFile(t, probePath, filepath.Join(dir, "probe"), 0o755)
	contain(t, "-chroot", dir, "--", "/probe", "exit", "5").wantError(t, 125, `can be changed by user 7, who owns it`)
	contain(t, "-chroot", dir, "-allow-untrusted-root", "--", "/probe", "exit", "5").want(t, 5, "")
}

// Which system calls a profile or its absence allows, and -allow-32bit.
func TestSeccompFlags(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	profile := filepath.Join(t.TempDir(), "profile.json")
	text := `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["keyctl"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}`
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, init := range []string{"-init=true", "-init=false"} {
		run := func(args ...string) result { return contain(t, append([]string{"-chroot", root, init}, args...)...) }
		run("-seccomp", profile, "--", "probe", "call", "keyctl").want(t, 1, "refused: Operation not supported\n")
		run("-seccomp", profile, "--", "probe", "call", "trace-exit").want(t, 1, "refused: Operation not permitted\n")
		run("-seccomp", "none", "--", "probe", "call", "trace-exit").want(t, 0, "allowed\n")
		run("-seccomp", profile+"x", "--", "probe", "exit", "0").wantError(t, 125, `: no such file or directory`)
	}
	if runtime.GOARCH != "amd64" {
		return // what follows is x86 code
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "exit42"), program32(), 0o755); err != nil {
		t.Fatal(err)
	}
	contain(t, "-chroot", root, "--", "exit42").wantError(t, 126, `is a 32-bit program, which the system call filter does not allow: -allow-32bit does`)
	contain(t, "-chroot", root, "-allow-32bit", "--", "exit42").want(t, 42, "")
	contain(t, "-chroot", root, "-allow-32bit", "--", "probe", "exit", "6").want(t, 6, "")
}

// program32 is an i386 program that ends with 42.
func program32() []byte {
	code := []byte{0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80}
	const base, start = 0x8048000, 52 + 32
	var b bytes.Buffer
	b.WriteString("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []any{
		[]uint16{2, 3}, []uint32{1, base + start, 52, 0, 0}, []uint16{52, 32, 1, 0, 0, 0},
		[]uint32{1, 0, base, base, uint32(start + len(code)), uint32(start + len(code)), 5, 4096},
	} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(code)
	return b.Bytes()
}

// -print-config says what a run then gets, and runs nothing.
func TestPrintConfig(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, args := range []string{"", "-cap-add SYS_NICE -cap-drop CHOWN -user 0:7 -hostname h -memory-limit 64M -seccomp none", "-user 1000 -unmask /proc/keys -allow-new-privs -network-address 172.17.0.9/24"} {
		flags := append([]string{"-chroot", root}, strings.Fields(args)...)
		r := contain(t, append(flags, "-print-config", "--", "probe", "exit", "9")...)
		var got struct {
			UID          int                                  `json:"uid"`
			GID          int                                  `json:"gid"`
			Capabilities []string                             `json:"capabilities"`
			NewPrivs     bool                                 `json:"new_privileges"`
			Seccomp      struct{ Instructions int }           `json:"seccomp"`
			Mounts       []struct{ At, Type string }          `json:"mounts"`
			Masked       []string                             `json:"masked_paths"`
			Environment  []string                             `json:"environment"`
			Limits       struct{ Memory *int64 }              `json:"limits"`
			Network      struct{ Addresses, Routes []string } `json:"network"`
		}
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code() != 0 {
			t.Fatalf("%s: %v, status %d, %q", args, err, r.code(), r.stderr)
		}
		run := contain(t, append(flags, "--", "probe", "cat", "/proc/self/status", "/proc/self/mountinfo")...)
		if uid, gid := field(run.stdout, "Uid"), field(run.stdout, "Gid"); !strings.HasPrefix(uid, fmt.Sprint(got.UID, "\t")) || !strings.HasPrefix(gid, fmt.Sprint(got.GID, "\t")) {
			t.Errorf("%s: %d:%d, but the run has %s and %s", args, got.UID, got.GID, uid, gid)
		}
		mask, err := strconv.ParseUint(field(run.stdout, "CapEff"), 16, 64)
		if err != nil || bits.OnesCount64(mask) != len(got.Capabilities) {
			t.Errorf("%s: %v, but the run has %x, %v", args, got.Capabilities, mask, err)
		}
		if off := field(run.stdout, "NoNewPrivs") == "0"; off != got.NewPrivs {
			t.Errorf("%s: new privileges %v", args, got.NewPrivs)
		}
		if filtered := field(run.stdout, "Seccomp") == "2"; filtered != (got.Seccomp.Instructions > 0) {
			t.Errorf("%s: a filter of %d instructions", args, got.Seccomp.Instructions)
		}
		for _, m := range got.Mounts {
			if !strings.Contains(run.stdout, " "+m.At+" ") {
				t.Errorf("%s: no mount on %s in the run", args, m.At)
			}
		}
		if has := strings.Contains(run.stdout, " /proc/keys "); has != slices.Contains(got.Masked, "/proc/keys") {
			t.Errorf("%s: /proc/keys masked: %v", args, has)
		}
	}
	contain(t, "-chroot", root, "-print-config", "--", "nosuch").wantError(t, 127, `program "nosuch": not found`)
	contain(t, "-chroot", root, "-print-config", "-report", "fd:1", "--", "probe").wantError(t, 125, "-print-config does not go with -report")
}

// contain runs no program whose process it could not look at.
func TestNeedsCapabilities(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for flag, name := range map[string]string{"sys_ptrace": "CAP_SYS_PTRACE", "setuid": "CAP_SETUID"} {
		lacks := exec.Command("setpriv", "--bounding-set=-"+flag, containPath, "-chroot", root, "--", "probe", "exit", "0")
		startCommand(t, lacks).wait(t).wantError(t, 125, "contain itself needs "+name)
	}
}

// -read-only holds for what is mounted in DIR, too.
func TestReadOnlyMounts(t *testing.T) {
	leavesNothing(t)
	root := mounted(t, 0, "sub", "proc", "sys", "dev")
	if err := unix.Mount("tmpfs", filepath.Join(root, "sub"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(root, "sub"), unix.MNT_DETACH) })
	contain(t, "-chroot", root, "-read-only", "--", "probe", "create", "/sub/new").want(t, 1, "/sub/new: Read-only file system\n")
}
