package main

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
)

func TestSetupIsReadAsWritten(t *testing.T) {
	for _, s := range []setup{nil, {{setSysctl, "net.a", "1 2\n3"}}, {{setSysctl, "", ""}, {tellOfNetns}, {showCgroup, "/a b", "ä\xff"}, {showCgroups}}} {
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
	opts := defaults(func(o *options) { o.address = prefixes("192.168.2.17/24") })
	h := host{ipv6: true, cgroup: cgroupHost{v1: []hierarchy{{name: "cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}}, {name: "memory", controllers: []string{"memory"}}}}}
	config := newConfig("0a1b2c3d", opts, h)
	whole := len(config.Mounts)
	s := takeOver(config, opts.network, t.TempDir())
	var kinds []string
	for _, step := range s {
		kinds = append(kinds, step[0])
	}
	want := strings.Repeat("sysctl ", len(newConfig("0a1b2c3d", opts, h).Sysctl)) + "netns cgroup cgroup cgroup cgroup cgroups"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if len(config.Sysctl) != 0 || len(config.Mounts) != whole-4 {
		t.Errorf("libcontainer keeps %v and %d mounts of %d", config.Sysctl, len(config.Mounts), whole)
	}
	if last := config.Mounts[len(config.Mounts)-1]; last.Source != cgroup2Root || last.Destination != cgroup2Root {
		t.Errorf("the last is %+v", last)
	}
	for what, leave := range map[string]struct {
		userns bool
		place  string
	}{"-userns": {true, t.TempDir()}, "no /sys/fs/cgroup": {false, "/nope"}} {
		config := newConfig("0a1b2c3d", defaults(func(o *options) { o.ids.wanted = leave.userns }), h)
		if takeOver(config, network{}, leave.place); len(config.Mounts) != whole {
			t.Errorf("%s: libcontainer keeps %d mounts of %d", what, len(config.Mounts), whole)
		}
	}
	v2 := newConfig("0a1b2c3d", defaults(nil), host{cgroup: cgroupHost{v2: true}})
	before := append([]*configs.Mount{}, v2.Mounts...)
	if s := takeOver(v2, network{}, t.TempDir()); len(s) != 0 || !reflect.DeepEqual(v2.Mounts, before) {
		t.Errorf("on v2: %q, %d mounts", s, len(v2.Mounts))
	}
}
