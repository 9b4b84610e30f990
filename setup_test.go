package main

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

func TestSetupIsReadAsWritten(t *testing.T) {
	for _, s := range []setup{nil, {{setSysctl, "net.a", "1 2\n3"}}, {{setSysctl, "", ""}, {tellOfNetns}, {bindCgroup, "/a b", "ä\xff"}, {mountRoot}}} {
		written := s.encode()
		got, err := readSetup(bytes.NewReader(written))
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
		for n := range len(written) - 1 {
			if _, err := readSetup(bytes.NewReader(written[:n])); err == nil {
				t.Errorf("%q: %q is taken", s, written[:n])
			}
		}
	}
}

func TestSysctlsAreSetInOrder(t *testing.T) {
	names := []string{"net.ipv4.conf.all.accept_redirects", "kernel.shmmax", "net.ipv6.conf.all.forwarding", "net.ipv4.ip_forward"}
	slices.SortFunc(names, compareSysctls)
	if want := []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "kernel.shmmax", "net.ipv4.conf.all.accept_redirects"}; !slices.Equal(names, want) {
		t.Errorf("%s, want %s", names, want)
	}
}

// What the init does is not left to libcontainer too, and the rest is.
func TestTakeOver(t *testing.T) {
	v1 := cgroupHost{v1: []hierarchy{{name: "cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}}, {name: "memory", controllers: []string{"memory"}}}}
	for name, test := range map[string]struct {
		host    cgroupHost
		address string
		cgroups int
	}{
		"v1, an interface": {v1, "192.168.2.17/24", 4},
		"v1":               {v1, "", 4},
		"v2":               {cgroupHost{v2: true}, "", 1},
	} {
		opts := defaults(func(o *options) { o.address = prefixes(strings.Fields(test.address)...) })
		h := host{ipv6: true, cgroup: test.host}
		before, config := newConfig("0a1b2c3d", opts, h), newConfig("0a1b2c3d", opts, h)
		count := map[string]int{}
		for _, step := range takeOver(config, opts.network) {
			count[step[0]]++
		}
		want := map[string]int{
			setSysctl: len(before.Sysctl), raise: 1, mountRoot: 1, mountNew: len(before.Mounts) - test.cgroups, bindCgroup: test.cgroups,
			makeNode: len(before.Devices), makeReadonly: len(before.ReadonlyPaths), maskPath: len(before.MaskPaths),
		}
		if test.address != "" {
			want[tellOfNetns] = 1
		}
		if !test.host.v2 {
			want[protectMount] = 1
		}
		if !maps.Equal(count, want) {
			t.Errorf("%s: %v, want %v", name, count, want)
		}
		before.Sysctl, before.Networks, before.Mounts, before.Devices, before.ReadonlyPaths, before.MaskPaths = nil, nil, nil, nil, nil, nil
		if !reflect.DeepEqual(config, before) {
			t.Errorf("%s: libcontainer keeps %+v, want %+v", name, config, before)
		}
	}
}

// Root of a user namespace cannot make all of that.
func TestTakeOverUserns(t *testing.T) {
	opts := defaults(func(o *options) { o.ids.wanted = true })
	before, config := newConfig("0a1b2c3d", opts, host{}), newConfig("0a1b2c3d", opts, host{})
	if s := takeOver(config, network{}); !reflect.DeepEqual(s, setup{{raise, "lo"}, {mountRoot}}) {
		t.Errorf("%q", s)
	}
	if before.Networks, before.Sysctl = nil, nil; !reflect.DeepEqual(config, before) {
		t.Errorf("libcontainer keeps %+v, want %+v", config, before)
	}
}

// The interface is made beside the rest, and nothing is made on what is mounted over later.
func TestOrderOfSteps(t *testing.T) {
	opts := defaults(func(o *options) { o.address = prefixes("192.168.2.17/24") })
	h := host{cgroup: cgroupHost{v1: []hierarchy{{name: "memory", controllers: []string{"memory"}}}}}
	h.devices = []*devices.Device{{Path: "/dev/dri/card0", FileMode: 0o660, Uid: 1, Gid: 44, Rule: devices.Rule{Type: devices.BlockDevice, Major: 226, Minor: 300}}}
	var order []string
	for _, step := range takeOver(newConfig("0a1b2c3d", opts, h), opts.network) {
		if len(order) == 0 || order[len(order)-1] != step[0] {
			order = append(order, step[0])
		}
		if step[1] != "/dev/dri/card0" {
			continue
		}
		want := node{"/dev/dri/card0", unix.S_IFBLK | 0o660, int(unix.Mkdev(226, 300)), 1, 44}
		if n, err := readNode(step[1], step[2]); err != nil || n != want {
			t.Errorf("device %q is read as %v, %v", step, n, err)
		}
	}
	if want := []string{setSysctl, raise, tellOfNetns, mountRoot, mountNew, bindCgroup, protectMount, makeNode, makeReadonly, maskPath}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

func TestMountIsReadAsWritten(t *testing.T) {
	config := newConfig("0a1b2c3d", defaults(nil), host{cgroup: cgroupHost{v2: true}})
	mounts := config.Mounts
	for _, step := range takeOver(config, network{}) {
		if step[0] != mountNew {
			continue
		}
		at := slices.IndexFunc(mounts, func(m *configs.Mount) bool { return m.Destination == step[1] })
		if m, err := readMount(step[1], step[2]); err != nil || !reflect.DeepEqual(m, mounts[at]) {
			t.Errorf("%q is read as %+v, %v", step, m, err)
		}
		// The rest would be lost on the way to fsmount(2).
		const known = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_STRICTATIME
		if f := mounts[at].Flags; f&^known != 0 {
			t.Errorf("%s has flags %#x", step[1], f)
		}
	}
	for _, wrong := range []string{"", "tmpfs", "tmpfs tmpfs 1", "tmpfs tmpfs x y"} {
		if m, err := readMount("/a", wrong); err == nil {
			t.Errorf("%q is read as %+v", wrong, m)
		}
	}
	for _, wrong := range []string{"", "1", "1 2 3", "1 2 3 x"} {
		if n, err := readNode("/a", wrong); err == nil {
			t.Errorf("%q is read as %+v", wrong, n)
		}
	}
}

func TestLocate(t *testing.T) {
	p := places{at: map[string]int{"/": 1, "/sys": 2, "/dev": 3, "/dev/shm": 4}}
	for path, want := range map[string]struct {
		dir  int
		name string
	}{
		"/proc": {1, "proc"}, "/sys": {1, "sys"}, "/sys/fs/cgroup": {2, "fs/cgroup"}, "/dev/shm": {3, "shm"},
		"/dev/shm/a": {4, "a"}, "/dev/shmall": {3, "shmall"}, "/device": {1, "device"}, "/a/b": {1, "a/b"},
	} {
		if dir, name := p.locate(path); dir != want.dir || name != want.name {
			t.Errorf("%s: %d, %q, want %v", path, dir, name, want)
		}
	}
}
