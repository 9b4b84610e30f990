package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
)

// fakeCgroup is one on v2.
type fakeCgroup struct{ cgroups.Manager }

func (fakeCgroup) GetPaths() map[string]string { return map[string]string{"": "/sys/fs/cgroup/x"} }

// waiting is a container, and a /proc/PID/ of its process as it should be.
func waiting(t *testing.T, opts options) (*container, string) {
	t.Helper()
	proc, dir := t.TempDir()+"/", t.TempDir()
	h := v1Host()
	h.cgroup = cgroupHost{v2: true, parent: "/sys/fs/cgroup/x"}
	root, err := openRootfs(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.close)
	c := &container{id: "0a1b2c3d", config: newConfig("0a1b2c3d", opts, h), rootfs: root, cgroup: &cgroup2{Manager: fakeCgroup{}}}
	c.own = ownStatus{seccomp: "0", filters: 0}
	c.task = task{caps: h.caps, filter: nil, newPrivs: opts.newPrivs, user: opts.user}
	caps, none := fmt.Sprintf("%016x", uint64(h.caps)), "0000000000000000"
	fake(t, proc+"status", "Name:\tprobe\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t \nCapInh:\t"+none+"\nCapPrm:\t"+caps+"\nCapEff:\t"+caps+
		"\nCapBnd:\t"+caps+"\nCapAmb:\t"+none+"\nNoNewPrivs:\t1\nSeccomp:\t0\nSeccomp_filters:\t0\n")
	fake(t, proc+"cgroup", "0::/x/contain-0a1b2c3d\n")
	for _, kind := range []string{"cgroup", "mnt", "pid", "ipc", "uts", "net"} {
		if err := os.MkdirAll(proc+"ns", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(kind+":[7]", proc+"ns/"+kind); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir, proc+"root"); err != nil {
		t.Fatal(err)
	}
	c.wanted = func() ([]wantedMount, error) { return wantedMounts(c.config), nil }
	fake(t, proc+"mountinfo", tableOf(wantedMounts(c.config)))
	return c, proc
}

func fake(t *testing.T, file, contents string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tableOf is what /proc/PID/mountinfo says of mounts in this order.
func tableOf(mounts []wantedMount) string {
	text := "10 1 8:1 /r / rw - ext4 /dev/sda rw\n"
	for i, m := range mounts {
		parent := 10
		for k, other := range mounts[:i] {
			if strings.HasPrefix(m.at, other.at+"/") {
				parent = 20 + k
			}
		}
		options, root, fs := strings.Join(append([]string{"relatime"}, m.options...), ","), "/", "any"
		if m.root != "" {
			root = m.root
		}
		if m.fs != "" {
			fs = m.fs
		}
		device := 40 + i
		if fs == "proc" {
			device = 40
		}
		text += fmt.Sprintf("%d %d 0:%d %s %s %s - %s none rw\n", 20+i, parent, device, root, m.at, options, fs)
	}
	return text
}

// A container that is as it was asked for passes; one in which anything differs does not.
func TestVerify(t *testing.T) {
	for _, test := range []struct{ file, from, to, want string }{
		{"", "", "", ""},
		{"status", "CapEff:\t00000000800425fb", "CapEff:\t00000000a80425fb", `CapEff is "00000000a80425fb", not "00000000800425fb"`},
		{"status", "CapPrm:\t00000000800425fb", "CapPrm:\t0", `CapPrm is "0", not "00000000800425fb"`},
		{"status", "CapBnd:\t00000000800425fb", "CapBnd:\t0", `CapBnd is "0", not "00000000800425fb"`},
		{"status", "CapInh:\t0000000000000000", "CapInh:\t0000000000000001", `CapInh is "0000000000000001", not "0000000000000000"`},
		{"status", "CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", `CapAmb is "0000000000000001", not "0000000000000000"`},
		{"status", "NoNewPrivs:\t1", "NoNewPrivs:\t0", `NoNewPrivs is "0", not "1"`},
		{"status", "Seccomp:\t0", "Seccomp:\t2", `Seccomp is "2", not "0"`},
		{"status", "Seccomp:", "No:", `Seccomp is "", not "0"; then: the kernel does not tell Seccomp`},
		{"status", "Uid:\t0\t0", "Uid:\t0\t7", `Uid is "0\t7\t0\t0", not "0\t0\t0\t0"`},
		{"status", "Gid:\t0", "Gid:\t5", `Gid is "5\t0\t0\t0", not "0\t0\t0\t0"`},
		{"status", "Groups:\t ", "Groups:\t4 ", `Groups is "4", not ""`},
		{"cgroup", "contain-0a1b2c3d", "contain-11111111", `its cgroup is "/x/contain-11111111"`},
		{"cgroup", "/x/contain-0a1b2c3d", "/", `its cgroup is "/"`},
		{"cgroup", "0::/x/contain-0a1b2c3d", "", "it is in no cgroup"},
		{"cgroup", "contain-0a1b2c3d", "contain-0a1b2c3d.scope", `its cgroup is "/x/contain-0a1b2c3d.scope"`},
		{"status", "Seccomp_filters:\t0", "Seccomp_filters:\t1", "it has 1 system call filters, not 0"},
		{"mountinfo", " /proc ", " /other ", "/proc is not mounted over as it should be"},
		{"mountinfo", " /proc/sys relatime,ro", " /proc/sys relatime,rw", "/proc/sys is not mounted ro"},
		{"mountinfo", " /sys /proc/sys relatime,ro - proc", " /home/b/sys /proc/sys relatime,ro - ext4", "/proc/sys is not mounted over as it should be"},
		{"mountinfo", " /sys /proc/sys relatime,ro - proc", " / /proc/sys relatime,ro - proc", "/proc/sys is not mounted over as it should be"},
		{"mountinfo", "0:40 /sys /proc/sys", "0:41 /sys /proc/sys", "/proc/sys is of another procfs"},
		{"mountinfo", " /proc/keys ", " /proc/other ", "/proc/keys is not mounted over as it should be"},
		{"mountinfo", " /null /proc/keys ", " /zero /proc/keys ", "/proc/keys is not mounted over as it should be"},
		{"mountinfo", "- sysfs", "- tmpfs", "/sys is not mounted over as it should be"},
		{"mountinfo", "10 1 8:1", "99 10 8:1 / /x rw - ext4 /dev/sda rw\n10 1 8:1", `something is mounted on "/x" (ext4)`},
		{"mountinfo", "10 1 8:1", "99 20 8:1 / /proc rw - ext4 /dev/sda rw\n10 1 8:1", "/proc is not mounted over as it should be"},
		{"mountinfo", "10 1 8:1", "99 10 8:1 / / rw - ext4 /dev/sda rw\n10 1 8:1", "/proc is not mounted over as it should be"},
	} {
		c, proc := waiting(t, defaults(nil))
		if test.file != "" {
			text, err := os.ReadFile(proc + test.file)
			if err != nil || !strings.Contains(string(text), test.from) {
				t.Fatalf("%s has no %q: %v\n%s", test.file, test.from, err, text)
			}
			fake(t, proc+test.file, strings.Replace(string(text), test.from, test.to, 1))
		}
		err := c.verifyCredentials(proc)
		for _, look := range []func(string) error{c.verifyNamespaces, c.verifyCgroup, c.verifyMounts} {
			if err == nil {
				err = look(proc)
			}
		}
		if text(err) != test.want {
			t.Errorf("%s with %q: %v\nwant %s", test.file, test.to, err, test.want)
		}
	}
}

func TestVerifyNamespacesAndRoot(t *testing.T) {
	c, proc := waiting(t, defaults(nil))
	for _, kind := range []string{"cgroup", "mnt", "pid", "ipc", "uts", "net"} {
		host, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(proc + "ns/" + kind)
		if err := os.Symlink(host, proc+"ns/"+kind); err != nil {
			t.Fatal(err)
		}
		if got, want := text(c.verifyNamespaces(proc)), "its "+kind+" namespace is the host's"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		os.Remove(proc + "ns/" + kind)
		if err := os.Symlink(kind+":[7]", proc+"ns/"+kind); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(proc, "root"))
	if err := os.Symlink("/", filepath.Join(proc, "root")); err != nil {
		t.Fatal(err)
	}
	if got := text(c.verifySame(proc, proc)); got != "its root is not DIR" {
		t.Errorf("another root: %s", got)
	}
	c, proc = waiting(t, defaults(nil))
	_, init := waiting(t, defaults(nil))
	os.Remove(init + "ns/mnt")
	if err := os.Symlink("mnt:[8]", init+"ns/mnt"); err != nil {
		t.Fatal(err)
	}
	if got := text(c.verifySame(proc, init)); got != "its mount namespace is not the init's" {
		t.Errorf("another mount namespace: %s", got)
	}
	if err := c.verifySame(proc, proc); err != nil {
		t.Error(err)
	}
	mounts := make(chan error)
	close(mounts)
	if seen(mounts)(proc) == nil {
		t.Error("mounts that were not compared are taken for right")
	}
}
