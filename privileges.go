// What the program may do and what surrounds it, beside its limits and its network:
// the flags that loosen or tighten the default set, as text.

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	devices "github.com/opencontainers/cgroups/devices/config"
	"golang.org/x/sys/unix"
)

// privileges is what the program may do.
type privileges struct {
	capAdd, capDrop capChange
	calls           filterOptions
	newPrivs        bool // by set-user-ID files and file capabilities
	readOnly        bool // the rootfs
	untrusted       bool // DIR may be writable for others than root
	user            programUser
	idsText         idsText
	ids             idRange // -userns
	devices         []deviceOption
	unmask          []string // of maskedPaths and readonlyPaths
	sysctl          map[string]string
}

// surroundings is what the program finds.
type surroundings struct {
	env      []string // NAME=VALUE, beside the fixed ones
	workdir  string
	hostname string // "": the id
}

// programUser is whom the program runs as.
type programUser struct{ uid, gid uint32 }

// parseUser reads UID[:GID], numbers: a name would be looked up in DIR, whose owner
// could make it 0. Without GID the group has the same number.
func parseUser(s string) (u programUser, err error) {
	uid, gid, two := strings.Cut(s, ":")
	if !two {
		gid = uid
	}
	for _, f := range []struct {
		text string
		to   *uint32
	}{{uid, &u.uid}, {gid, &u.gid}} {
		n, err := strconv.ParseUint(f.text, 10, 32)
		const most = 1<<31 - 1 // what many a program keeps one in
		if err != nil || !isDigits(f.text) || n > most {
			return u, fmt.Errorf("not UID or UID:GID, numbers up to %d", most)
		}
		*f.to = uint32(n)
	}
	return u, nil
}

// isDigits tells whether s consists of decimal digits, without a needless zero.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// parseEnv reads NAME=VALUE, or NAME, whose value is the caller's. Of a name that the
// caller has not there is no variable, "" then.
func parseEnv(s string) (string, error) {
	name, _, set := strings.Cut(s, "=")
	if name == "" {
		return "", errors.New("no name of a variable")
	}
	if set {
		return s, nil
	}
	value, ok := os.LookupEnv(name)
	if strings.HasPrefix(name, "GO") {
		value, ok = os.LookupEnv("_" + name[1:]) // forget_go in init.go
	}
	if !ok {
		return "", nil
	}
	return name + "=" + value, nil
}

// environment returns the program's: the fixed variables, replaced and followed by
// those of -env.
func (s surroundings) environment(fixed []string) []string {
	env := slices.Clone(fixed)
	for _, v := range s.env {
		name, _, _ := strings.Cut(v, "=")
		at := slices.IndexFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if at >= 0 {
			env[at] = v
		} else {
			env = append(env, v)
		}
	}
	return env
}

// searchPath returns where a program named without a slash is looked for.
func (s surroundings) searchPath() string {
	for _, v := range slices.Backward(s.env) {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			return value
		}
	}
	return searchPath
}

// lookupPath is searchPath as seen from /.
func (o *options) lookupPath() string {
	list := strings.Split(o.searchPath(), ":")
	for i, dir := range list {
		if !strings.HasPrefix(dir, "/") {
			list[i] = o.workdir + "/" + dir // where it is looked for
		}
	}
	return strings.Join(list, ":")
}

// program returns the program's name as seen from /.
func (o *options) program() string {
	name := o.argv[0]
	if o.workdir != "" && strings.Contains(name, "/") && name[0] != '/' {
		return o.workdir + "/" + name
	}
	return name
}

// ownCapSet is what contain and its init use themselves, besides pid1's: to look at the
// program, to set up lo, to join the init's mounts, to make the nodes in /dev.
const ownCapSet = 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_MKNOD

// readPrivileges finds out what the flags of opts mean on this host.
func (h *host) readPrivileges(p privileges, direct bool) error {
	var err error
	if h.own, err = readOwnStatus(); err != nil {
		return fmt.Errorf("read contain's own privileges: %w", reason(err))
	}
	if missing := (pid1CapSet | ownCapSet) &^ h.own.caps; missing != 0 {
		return fmt.Errorf("contain itself needs %s", strings.Join(missing.names(), ", "))
	}
	if p.newPrivs && h.own.noNewPrivs {
		return errors.New("-allow-new-privs: contain itself was started with no_new_privs")
	}
	if h.caps, err = p.capabilities(h.own.caps); err != nil {
		return err
	}
	p.calls.capset = p.newPrivs
	if h.filter, err = p.calls.syscallFilter(h.caps.names(), direct); err != nil {
		return err
	}
	for name := range p.sysctl {
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err != nil {
			return fmt.Errorf("-sysctl %s: this kernel has no such parameter, or only of an interface that is made later", quoted(name))
		}
	}
	for _, d := range p.devices {
		node, err := d.find()
		if err != nil {
			return fmt.Errorf("-device %s: %w", quoted(d.path), reason(err))
		}
		h.give(node)
	}
	return nil
}

// give adds a device to those of the program, or to the permissions of the same one.
func (h *host) give(node *devices.Device) {
	for _, d := range h.devices {
		if d.Path == node.Path {
			d.Permissions = d.Permissions.Union(node.Permissions)
			return
		}
	}
	h.devices = append(h.devices, node)
}

// parseWorkdir reads an absolute path in the container.
func parseWorkdir(s string) (string, error) {
	if !strings.HasPrefix(s, "/") {
		return "", errors.New("not an absolute path")
	}
	return s, nil
}

// parseHostname reads what sethostname(2) takes, less what nobody wants in a prompt.
func parseHostname(s string) (string, error) {
	if len(s) > 64 {
		return "", errors.New("longer than 64 characters")
	}
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") != "" || s[0] == '-' {
		return "", errors.New("not a host name: letters, digits, hyphens and dots")
	}
	return s, nil
}

// deviceOption is a device of the host that the program gets.
type deviceOption struct{ path, permissions string }

// parseDevice reads PATH[:PERMISSIONS], the latter of r, w and m (mknod).
func parseDevice(s string) (deviceOption, error) {
	d := deviceOption{s, "rwm"}
	if at := strings.LastIndexByte(s, ':'); at >= 0 {
		d = deviceOption{s[:at], s[at+1:]}
	}
	if d.permissions == "" || strings.Trim(d.permissions, "rwm") != "" || len(d.permissions) > 3 {
		return d, errors.New("the part behind : is not made of r, w and m")
	}
	if !strings.HasPrefix(d.path, "/dev/") || path.Clean(d.path) != d.path {
		return d, errors.New("not a path below /dev")
	}
	own := []string{"/dev/ptmx", "/dev/console", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/core"}
	for _, node := range deviceNodes() {
		own = append(own, node.Path)
	}
	if slices.Contains(own, d.path) || strings.HasPrefix(d.path, "/dev/pts/") || strings.HasPrefix(d.path, "/dev/mqueue/") {
		return d, errors.New("is contain's own matter")
	}
	return d, nil
}

// find looks the device up on the host.
func (d deviceOption) find() (*devices.Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(d.path, &st); err != nil {
		return nil, err
	}
	kind := map[uint32]devices.Type{unix.S_IFCHR: devices.CharDevice, unix.S_IFBLK: devices.BlockDevice}[st.Mode&unix.S_IFMT]
	if kind == 0 {
		return nil, errors.New("not a device")
	}
	return &devices.Device{
		Path: d.path, FileMode: os.FileMode(st.Mode & 0o777), Uid: st.Uid, Gid: st.Gid,
		Rule: devices.Rule{
			Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
			Permissions: devices.Permissions(d.permissions), Allow: true,
		},
	}, nil
}

// parseUnmask reads one of the paths that are masked or read-only, or ALL.
func parseUnmask(s string) (string, error) {
	if s == "ALL" || slices.Contains(maskedPaths, s) || slices.Contains(readonlyPaths, s) {
		return s, nil
	}
	return "", fmt.Errorf("not one of ALL, %s", strings.Join(slices.Concat(maskedPaths, readonlyPaths), ", "))
}

// without returns paths less those that were unmasked.
func (p privileges) without(paths []string) []string {
	if slices.Contains(p.unmask, "ALL") {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(paths), func(s string) bool { return slices.Contains(p.unmask, s) })
}

// ipcSysctls are those of an IPC namespace, ipc_namespaces(7); net.* are those of a
// network namespace.
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced",
}

// checkSysctls reports parameters of a network namespace that is not the program's own.
func (o *options) checkSysctls() error {
	for name := range o.sysctl {
		if strings.HasPrefix(name, "net.") && (o.attach.kind == netHost || o.attach.kind == netJoin) {
			return fmt.Errorf("-sysctl %s: with -network %s it would be changed for others", quoted(name), o.attach.kind)
		}
	}
	return nil
}

// addSysctl reads NAME=VALUE, of a parameter that belongs to the container alone.
func (p *privileges) addSysctl(s string) error {
	name, value, ok := strings.Cut(s, "=")
	switch {
	case !ok || value == "" || strings.ContainsAny(value, "\n\x00"):
		return errors.New("not NAME=VALUE")
	case strings.ContainsAny(name, "/\x00") || strings.Contains(name, ".."):
		return errors.New("not a name such as net.core.somaxconn")
	case !strings.HasPrefix(name, "net.") && !strings.HasPrefix(name, "fs.mqueue.") && !slices.Contains(ipcSysctls, name):
		return errors.New("is not of the container alone: net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} are")
	}
	if p.sysctl == nil {
		p.sysctl = map[string]string{}
	}
	p.sysctl[name] = value
	return nil
}
