package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// field returns the value of a line "name: value", as in /proc/PID/status.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestRootIsTheDirectory(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	if err := os.WriteFile(filepath.Join(root, "mark"), []byte("inside\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, root + "/", link} {
		contain(t, "-chroot", dir, "--", "probe", "cat", "/mark", "/../../mark").want(t, 0, "inside\ninside\n")
	}
	contain(t, "chroot", root, "probe", "cat", "mark").want(t, 0, "inside\n")
}

// The mounts are exactly these: nothing of the host's is seen.
func TestMounts(t *testing.T) {
	leavesNothing(t)
	r := contain(t, "-chroot", rootfs(t), "--", "probe", "cat", "/proc/self/mountinfo")
	var got []string
	for line := range strings.Lines(r.stdout) {
		f := strings.Fields(line)
		sep := slices.Index(f, "-")
		if strings.HasPrefix(f[4], "/sys/fs/cgroup") {
			continue // TestLimitsAreSeenInside
		}
		options := regexp.MustCompile(`relatime|,+$`).ReplaceAllString(f[5], "")
		got = append(got, f[4]+" "+f[sep+1]+" "+strings.Trim(options, ","))
	}
	want := []string{
		"/proc proc rw,nosuid,nodev,noexec",
		"/dev tmpfs rw,nosuid,noexec",
		"/dev/pts devpts rw,nosuid,noexec",
		"/dev/shm tmpfs rw,nosuid,nodev,noexec",
		"/dev/mqueue mqueue rw,nosuid,nodev,noexec",
		"/sys sysfs ro,nosuid,nodev,noexec",
		"/proc/bus proc ro,nosuid,nodev,noexec",
		"/proc/fs proc ro,nosuid,nodev,noexec",
		"/proc/irq proc ro,nosuid,nodev,noexec",
		"/proc/sys proc ro,nosuid,nodev,noexec",
	}
	for _, mount := range want {
		at := slices.Index(got, mount)
		if at < 0 {
			t.Fatalf("no mount %s:\n%s", mount, strings.Join(got, "\n"))
		}
		got = slices.Delete(got, at, at+1)
	}
	for _, mount := range got[min(1, len(got)):] { // the first is the root
		point, _, _ := strings.Cut(mount, " ")
		if !strings.HasPrefix(point, "/proc/") && !strings.HasPrefix(point, "/sys/") {
			t.Errorf("mount that nobody asked for: %s", mount)
		}
	}
}

func TestPrivileges(t *testing.T) {
	leavesNothing(t)
	r := contain(t, "-chroot", rootfs(t), "--", "probe", "cat", "/proc/self/status")
	for name, want := range map[string]string{
		"CapInh": "0000000000000000", "CapPrm": "00000000800425fb", "CapEff": "00000000800425fb",
		"CapBnd": "00000000800425fb", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Groups": "",
	} {
		if got := field(r.stdout, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsForbidden(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	// A device node that somebody has put into DIR: /dev/fuse.
	if err := exec.Command("mknod", filepath.Join(root, "fuse"), "c", "10", "229").Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		text string
	}{
		{[]string{"open", "/proc/sys/kernel/core_pattern", "w"}, "Read-only file system"},
		{[]string{"open", "/sys/class/net/lo/mtu", "w"}, "Read-only file system"},
		{[]string{"open", "/fuse", "r"}, "Operation not permitted"},
		{[]string{"mknod", "/disk", "8", "0"}, "Operation not permitted"},
		{[]string{"mount", "/bin"}, "Operation not permitted"},
		// The init's end of its socket to contain, and its memory.
		{[]string{"open", "/proc/1/fd/3", "w"}, "Permission denied"},
		{[]string{"open", "/proc/1/mem", "w"}, "Permission denied"},
	} {
		r := contain(t, append([]string{"-chroot", root, "--", "probe"}, c.args...)...)
		r.want(t, 1, c.args[1]+": "+c.text+"\n")
	}
	for _, path := range []string{"/proc/keys", "/proc/timer_list", "/proc/interrupts"} {
		contain(t, "-chroot", root, "--", "probe", "cat", path).want(t, 0, "")
	}
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/ptmx"} {
		contain(t, "-chroot", root, "--", "probe", "open", path, "w").want(t, 0, "ok\n")
	}
}

func TestNamespaces(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	p := start(t, "-chroot", root, "--", "probe", "wait")
	p.waitLine(t, "ready")
	pid := initPID(t)
	for _, ns := range []string{"mnt", "pid", "ipc", "uts", "net", "cgroup"} {
		inside, err := os.Readlink(filepath.Join("/proc", itoa(pid), "ns", ns))
		if err != nil {
			t.Fatal(err)
		}
		if outside, _ := os.Readlink("/proc/self/ns/" + ns); inside == outside {
			t.Errorf("the program shares the host's %s namespace", ns)
		}
	}
}

func TestHostnameIsTheID(t *testing.T) {
	leavesNothing(t)
	p := start(t, "-chroot", rootfs(t), "--", "probe", "cat", "/proc/sys/kernel/hostname")
	name := strings.TrimSpace(p.wait(t).stdout)
	if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(name) {
		t.Errorf("hostname %q", name)
	}
}

func TestEnvironmentIsFixed(t *testing.T) {
	leavesNothing(t)
	t.Setenv("SECRET", "of the caller")
	r := contain(t, "-chroot", rootfs(t), "--", "probe", "env")
	got := strings.Split(strings.TrimSpace(r.stdout), "\n")
	slices.Sort(got)
	want := []string{"HOME=/", "PATH=/bin:/usr/bin:/sbin:/usr/sbin", "container=contain"}
	if !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
}

func TestDescriptors(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	host, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := exec.Command(containPath, "-chroot", root, "--", "probe", "fds")
	cmd.Stdin, cmd.ExtraFiles = null, []*os.File{host, host}
	r := startCommand(t, cmd).wait(t)
	if !regexp.MustCompile(`^0 /dev/null\n1 pipe:\[\d+\]\n2 pipe:\[\d+\]\n$`).MatchString(r.stdout) {
		t.Errorf("the program's descriptors:\n%s%s", r.stdout, r.stderr)
	}
	cmd = exec.Command(containPath, "-chroot", root, "--", "probe", "fds")
	cmd.Stdin = host
	startCommand(t, cmd).wait(t).wantError(t, 125, "standard input is a directory")
	closed := exec.Command("sh", "-c", `exec "$0" "$@" <&- `, containPath, "-chroot", root, "--", "probe", "fds")
	r = startCommand(t, closed).wait(t)
	if !strings.HasPrefix(r.stdout, "0 /dev/null\n1 ") {
		t.Errorf("with stdin closed the program's descriptors are:\n%s%s", r.stdout, r.stderr)
	}
}

func TestBytesPassThrough(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	text := strings.Repeat("all\x00 bytes \xff\r\n", 100000)
	cmd := exec.Command(containPath, "-chroot", root, "--", "probe", "copy")
	cmd.Stdin = strings.NewReader(text)
	startCommand(t, cmd).wait(t).want(t, 0, text)
	contain(t, "-chroot", root, "--", "probe", "args", "", "a b", "-x", "ü\n").want(t, 0, "0:\n3:a b\n2:-x\n3:ü\n\n")
	var every []byte
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	contain(t, "-chroot", root, "--", "probe", "args", string(every), "\xff\xfe\x80").want(t, 0, "255:"+string(every)+"\n3:\xff\xfe\x80\n")
	for _, arg := range []string{"", strings.Repeat("x", 180)} {
		args := slices.Concat([]string{"-chroot", root, "--", "probe", "args"}, slices.Repeat([]string{arg}, 10000))
		contain(t, args...).want(t, 0, strings.Repeat(fmt.Sprintf("%d:%s\n", len(arg), arg), 10000))
	}
}

// libcontainer makes root the owner of what is on descriptors 0 to 2.
func TestOwnerOfOutputFileStays(t *testing.T) {
	leavesNothing(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Chown(1000, 1001); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(containPath, "-chroot", rootfs(t), "--", "probe", "args", "x")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, file
	startCommand(t, cmd).wait(t).want(t, 0, "")
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1000 || st.Gid != 1001 || st.Size != 4 {
		t.Errorf("owner %d:%d, size %d; want 1000:1001, 4", st.Uid, st.Gid, st.Size)
	}
}

// The garbage collector of libcontainer's init has closed them, given enough
// garbage.
func TestDescriptorsSurviveManyArguments(t *testing.T) {
	leavesNothing(t)
	args := []string{"-chroot", rootfs(t), "--", "probe", "fds"}
	for range 60000 {
		args = append(args, "an-argument")
	}
	for range 5 {
		r := contain(t, args...)
		if r.code() != 0 || strings.Count(r.stdout, "\n") != 3 || r.stderr != "" {
			t.Errorf("status %d, descriptors %q, stderr %q", r.code(), r.stdout, r.stderr)
		}
	}
}

func TestHomeIsThatOfUserZero(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(root, "etc", "passwd")
	for text, want := range map[string]string{
		"# users\nnobody:x:65534:65534::/:/bin/false\nroot:x:0:0::/root:/bin/sh\n": "/root",
		"root:x:0:0\n": "/",
	} {
		if err := os.WriteFile(passwd, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := contain(t, "-chroot", root, "--", "probe", "env")
		if !strings.Contains(r.stdout, "HOME="+want+"\n") {
			t.Errorf("with %q the environment is %q", text, r.stdout)
		}
	}
	// A program of an earlier run may have put anything there.
	if err := os.Remove(passwd); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(passwd, 0o644); err != nil {
		t.Fatal(err)
	}
	contain(t, "-chroot", root, "--", "probe", "exit", "7").want(t, 7, "")
}

func TestUmaskIsInherited(t *testing.T) {
	leavesNothing(t)
	cmd := exec.Command("sh", "-c", `umask 027; exec "$0" "$@"`, containPath, "-chroot", rootfs(t), "--", "probe", "create", "/file")
	startCommand(t, cmd).wait(t).want(t, 0, "750\n")
}

// What is made for the program it can read, whatever the umask.
func TestUmaskOfOthers(t *testing.T) {
	leavesNothing(t)
	limit := "/sys/fs/cgroup/pids/pids.max"
	if unified() {
		limit = "/sys/fs/cgroup/pids.max"
	}
	args := []string{containPath, "-chroot", rootfs(t), "-user", "1000"}
	device := "/dev/net/tun"
	if _, err := os.Stat(device); err == nil {
		args = append(args, "-device", device+":r", "-device", device+":w")
	}
	args = append(args, "--", "probe", "cat", limit)
	cmd := exec.Command("sh", append([]string{"-c", `umask 077; exec "$0" "$@"`}, args...)...)
	startCommand(t, cmd).wait(t).want(t, 0, "4096\n")
}

func TestForkBombIsBounded(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	file := "/sys/fs/cgroup/pids/pids.max"
	if unified() {
		file = "/sys/fs/cgroup/pids.max"
	}
	contain(t, "-chroot", root, "--", "probe", "cat", file).want(t, 0, "4096\n")
	r := contain(t, "-chroot", root, "--", "probe", "forks", "5000")
	var n int
	if _, err := fmt.Sscanf(r.stdout, "%d Resource temporarily unavailable", &n); err != nil || n > 4095 {
		t.Errorf("status %d, stdout %q, stderr %q", r.code(), r.stdout, r.stderr)
	}
	// The probe counts too, the init does not. The slice of a small machine's user
	// may have a lower limit.
	if n != 4095 && !underSystemd() {
		t.Errorf("%d children, want 4095", n)
	}
}

// What is the host's /dev/null outside is the container's inside: who is root there could
// change the mode of the host's.
func TestNullIsTheContainers(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, flag := range []string{"-init", "-init=false"} {
		cmd := exec.Command(containPath, "-chroot", root, flag, "--", "probe", "cat", "/proc/self/fdinfo/0", "/proc/self/fdinfo/2", "/proc/self/mountinfo")
		null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		must(t, err)
		cmd.Stdin, cmd.Stderr = null, null
		var out bytes.Buffer
		cmd.Stdout = &out
		must(t, cmd.Run(), null.Close())
		of := regexp.MustCompile(`(?m)^mnt_id:\s*(\d+)$`).FindAllStringSubmatch(out.String(), -1)
		if len(of) != 2 {
			t.Fatalf("%s: %s", flag, out.String())
		}
		for _, m := range of {
			if !regexp.MustCompile(`(?m)^` + m[1] + ` \d+ \d+:\d+ \S+ /dev `).Match(out.Bytes()) {
				t.Errorf("%s: it is of mount %s:\n%s", flag, m[1], out.String())
			}
		}
	}
}
