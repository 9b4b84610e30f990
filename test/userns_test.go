package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mappable returns a rootfs that this kernel can mount with other ids: in a file system
// of its own, if it cannot those of the machine.
func mappable(t *testing.T) string {
	t.Helper()
	root := rootfs(t)
	r := contain(t, "-chroot", root, "-userns", "--", "probe", "exit", "0")
	if r.code() == 0 {
		return root
	}
	r.wantError(t, 125, "-userns: the file system of DIR, or one mounted in it, cannot be mounted with other ids on this kernel")
	image := filepath.Join(t.TempDir(), "image")
	dir := t.TempDir()
	_ = exec.Command("modprobe", "loop").Run() // it may be built in
	for _, command := range []string{"truncate -s 32M " + image, "mkfs.ext4 -q " + image, "mount -o loop " + image + " " + dir} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, probePath, filepath.Join(dir, "bin", "probe"), 0o755)
	return dir
}

func owner(t *testing.T, path string) string {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Uid, ":", st.Gid)
}

// Root inside is nobody outside; DIR's files belong to the same ids for both.
func TestUserNamespace(t *testing.T) {
	leavesNothing(t)
	root := mappable(t)
	if err := os.Mkdir(filepath.Join(root, "theirs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "theirs"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result { return contain(t, append([]string{"-chroot", root}, args...)...) }
	for _, init := range []string{"-init=true", "-init=false"} {
		r := run(init, "-userns", "--", "probe", "cat", "/proc/self/status", "/proc/self/uid_map")
		if uid, eff, bnd := field(r.stdout, "Uid"), field(r.stdout, "CapEff"), field(r.stdout, "CapBnd"); uid != "0\t0\t0\t0" || eff != "00000000800425fb" || bnd != eff || r.code() != 0 {
			t.Errorf("%s: Uid %q, CapEff %q, CapBnd %q, status %d, %q", init, uid, eff, bnd, r.code(), r.stderr)
		}
		r = run(init, "-userns", "-user", "1000", "--", "probe", "create", "/theirs/new"+init)
		if got := owner(t, filepath.Join(root, "theirs", "new"+init)); got != "1000:1000" || r.code() != 0 {
			t.Errorf("%s: made by 1000: %s, status %d, %q", init, got, r.code(), r.stderr)
		}
		run(init, "-userns", "--", "probe", "create", "/new"+init)
		if got := owner(t, filepath.Join(root, "new"+init)); got != "0:0" {
			t.Errorf("%s: made by root: %s", init, got)
		}
	}
	if got := owner(t, filepath.Join(root, "theirs")); got != "1000:1000" {
		t.Errorf("what was there: %s", got)
	}
	run("-userns=100000:65536", "--", "probe", "cat", "/proc/self/uid_map").want(t, 0, "         0     100000      65536\n")
	for args, want := range map[string]string{
		"-userns=0:1000": "0 is root on the host, too", "-userns=1000": "not HOSTID:COUNT, numbers", "-userns=1:4294967295": "the ids end at 4294967294", "-userns=1:5": `-userns "1:5": too few ids`, "-userns=abc": `-userns "abc": not HOSTID:COUNT`,
		"-userns -user 65536":   "-user 65536:65536: not among the 65536 ids of -userns",
		"-userns -network host": "-userns needs a network namespace of its own: not with -network host or netns",
	} {
		run(append(strings.Fields(args), "--", "probe", "exit", "0")...).wantError(t, 125, want)
	}
}

// What a user namespace is for: on the host the processes are nobody's, two runs never
// the same, and everything else works in one.
func TestUserNamespaceWithEverything(t *testing.T) {
	leavesNothing(t)
	root := mappable(t)
	for range 2 {
		p := start(t, "-chroot", root, "-userns", "-ulimit", "nofile=100:200", "--", "probe", "wait")
		p.waitLine(t, "ready")
		defer func() {
			p.signal(t, syscall.SIGTERM)
			if r := p.wait(t); r.code() != 128+15 {
				t.Errorf("status %d, %q", r.code(), r.stderr)
			}
		}()
	}
	ids := map[string]bool{}
	for _, pid := range programs(t) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		ids[field(string(status), "Uid")] = true
	}
	if len(ids) != 2 || ids["0\t0\t0\t0"] {
		t.Errorf("on the host they are %v", ids)
	}
	args := []string{"-chroot", root, "-userns", "-memory-limit", "32M", "-network-address", "172.17.0.61/24", "-hosts", "a:1.2.3.4", "-read-only"}
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "hosts"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := contain(t, append(args, "--", "probe", "addrs")...)
	if !strings.Contains(r.stdout, "172.17.0.61") || r.code() != 0 {
		t.Errorf("addresses: %q, %q", r.stdout, r.stderr)
	}
	contain(t, append(args, "--", "probe", "create", "/x")...).want(t, 1, "/x: Read-only file system\n")
	if r := contain(t, append(args, "--", "probe", "hog", "67108864")...); r.code() != 137 || !strings.Contains(r.stderr, "memory limit") {
		t.Errorf("beyond the memory limit: status %d, %q", r.code(), r.stderr)
	}
	for _, call := range []string{"keyctl", "unshare-user", "packet"} {
		if r := contain(t, "-chroot", root, "-userns", "--", "probe", "call", call); !strings.HasPrefix(r.stdout, "refused") {
			t.Errorf("%s: %q", call, r.stdout)
		}
	}
}
