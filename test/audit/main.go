// Command audit writes the OCI bundle of a container with Docker's defaults:
//
//	audit DIR NAME HOSTARG...
//
// DIR/config.json is for runc: it runs /bin/audit HOSTARG... in DIR/rootfs, in a
// cgroup and with a host name of NAME. DIR/allowed has the names of the system calls
// that the profile lets pass whatever their arguments. What is here is rebuilt from
// moby's daemon/pkg/oci/defaults.go, of 2026; the profile is moby's own file.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const profile = "github.com/moby/profiles/seccomp@v0.2.3"

var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

var masked = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

// dict is a JSON object.
type dict = map[string]any

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: audit DIR NAME HOSTARG")
	}
	seccomp, allowed, err := seccompOf()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(spec(args[1], args[2:], seccomp), "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(args[0], "allowed"), []byte(strings.Join(allowed, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(args[0], "config.json"), data, 0o644)
}

// spec is the configuration for runc.
func spec(name string, hostArgs []string, seccomp dict) dict {
	return dict{
		"ociVersion": "1.2.1",
		"root":       dict{"path": "rootfs"},
		"hostname":   name,
		"mounts":     mounts(),
		"process": dict{
			"cwd":          "/",
			"user":         dict{"uid": 0, "gid": 0},
			"args":         append([]string{"/bin/audit"}, hostArgs...),
			"env":          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + name, "HOME=/root"},
			"capabilities": dict{"bounding": capabilities, "permitted": capabilities, "effective": capabilities},
			"oomScoreAdj":  0,
		},
		"linux": dict{
			"cgroupsPath":   "/" + name,
			"namespaces":    namespaces(),
			"maskedPaths":   maskedPaths(),
			"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			"resources":     dict{"devices": deviceRules()},
			"sysctl":        dict{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"},
			"seccomp":       seccomp,
		},
	}
}

func mounts() (list []dict) {
	for _, m := range [][3]string{
		{"/proc", "proc", "nosuid,noexec,nodev"},
		{"/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
		{"/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"/sys", "sysfs", "nosuid,noexec,nodev,ro"},
		{"/sys/fs/cgroup", "cgroup", "ro,nosuid,noexec,nodev"},
		{"/dev/mqueue", "mqueue", "nosuid,noexec,nodev"},
		{"/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	} {
		list = append(list, dict{"destination": m[0], "type": m[1], "source": m[1], "options": strings.Split(m[2], ",")})
	}
	return list
}

// namespaces are new ones. That of cgroups is private on cgroup v2 only; that of time,
// since April 2026, where the kernel has it.
func namespaces() (list []dict) {
	kinds := []string{"mount", "network", "uts", "pid", "ipc"}
	if exists("/sys/fs/cgroup/cgroup.controllers") {
		kinds = append(kinds, "cgroup")
	}
	if exists("/proc/self/ns/time") {
		kinds = append(kinds, "time")
	}
	for _, kind := range kinds {
		list = append(list, dict{"type": kind})
	}
	return list
}

func maskedPaths() []string {
	throttles, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	return append(slices.Clone(masked), throttles...)
}

// deviceRules are Docker's; runc adds its own to them.
func deviceRules() []dict {
	rules := []dict{{"allow": false, "access": "rwm"}}
	for _, d := range [][2]int{{1, 5}, {1, 3}, {1, 9}, {1, 8}, {5, 0}, {5, 1}, {10, 229}} {
		rules = append(rules, dict{"allow": d[0] != 10, "type": "c", "major": d[0], "minor": d[1], "access": "rwm"})
	}
	return rules
}

// condition is when a part of the profile counts, or does not.
type condition struct{ Arches, Caps []string }

// seccompOf resolves moby's profile for amd64, with its 32-bit architectures, and the
// capabilities. No kernel of today is older than the profile's minKernel, 4.8.
func seccompOf() (seccomp dict, allowed []string, err error) {
	out, err := exec.Command("go", "mod", "download", "-json", profile).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("fetch %s: %w", profile, err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(filepath.Join(module.Dir, "default.json"))
	if err != nil {
		return nil, nil, err
	}
	var file struct {
		DefaultAction   string
		DefaultErrnoRet uint
		Syscalls        []struct {
			Names              []string
			Action             string
			ErrnoRet           *uint `json:",omitempty"`
			Args               []any
			Includes, Excludes condition
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, nil, err
	}
	var calls []dict
	for _, c := range file.Syscalls {
		if excluded(c.Includes, c.Excludes) {
			continue
		}
		call := dict{"names": c.Names, "action": c.Action, "args": c.Args}
		if c.ErrnoRet != nil {
			call["errnoRet"] = *c.ErrnoRet
		}
		calls = append(calls, call)
		if c.Action == "SCMP_ACT_ALLOW" && len(c.Args) == 0 {
			allowed = append(allowed, c.Names...)
		}
	}
	return dict{
		"defaultAction": file.DefaultAction, "defaultErrnoRet": file.DefaultErrnoRet, "syscalls": calls,
		"architectures": []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"},
	}, allowed, nil
}

func excluded(includes, excludes condition) bool {
	has := func(list []string, one string) bool { return slices.Contains(list, one) }
	lacks := func(c string) bool { return !has(capabilities, c) }
	return len(includes.Arches) > 0 && !has(includes.Arches, "amd64") || slices.ContainsFunc(includes.Caps, lacks) ||
		has(excludes.Arches, "amd64") || slices.ContainsFunc(excludes.Caps, func(c string) bool { return !lacks(c) })
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
