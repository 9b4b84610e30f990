// -print-config: what a run would get, as JSON, for an audit. Nothing is run, and
// nothing on the host is changed.

package main

import (
	"encoding/json"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
)

type effective struct {
	Schema       int               `json:"schema"`
	Root         string            `json:"root"`
	ReadOnly     bool              `json:"read_only"`
	Program      []string          `json:"program"`
	Environment  []string          `json:"environment"`
	Workdir      string            `json:"workdir"`
	Hostname     *string           `json:"hostname"` // null: the id of the run
	Init         bool              `json:"init"`
	UID          uint32            `json:"uid"`
	GID          uint32            `json:"gid"`
	IDs          *idsConfig        `json:"user_namespace"`
	Capabilities []string          `json:"capabilities"` // effective
	Bounding     []string          `json:"bounding_capabilities"`
	NewPrivs     bool              `json:"new_privileges"`
	Seccomp      seccompConfig     `json:"seccomp"`
	Namespaces   []string          `json:"namespaces"` // new ones
	Devices      []deviceConfig    `json:"devices"`
	Mounts       []mountConfig     `json:"mounts"`
	Masked       []string          `json:"masked_paths"`
	Readonly     []string          `json:"readonly_paths"`
	Sysctl       map[string]string `json:"sysctl"`
	Network      networkConfig     `json:"network"`
	Limits       *limitsReport     `json:"limits"`
}

type idsConfig struct {
	First *uint32 `json:"host_id"` // null: a free one
	Count uint32  `json:"count"`
}

type seccompConfig struct {
	Profile      string `json:"profile"` // docker, none, or a file
	Instructions int    `json:"instructions"`
	Compat       bool   `json:"32bit"`
}

type deviceConfig struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
}

type mountConfig struct {
	At      string   `json:"at"`
	Type    string   `json:"type"`
	Options []string `json:"options"`
}

type networkConfig struct {
	Kind      string         `json:"kind"`
	To        string         `json:"to"` // the bridge, interface or path
	Addresses []netip.Prefix `json:"addresses"`
	Routes    []netip.Addr   `json:"default_routes"`
	Strict    bool           `json:"strict"`
}

// printConfig writes the configuration of a run on this host to w.
func printConfig(w io.Writer, opts options, h host) error {
	config := newConfig("ID", opts, h)
	task := newTask(opts, h)
	e := effective{
		Schema: 1, Root: opts.rootfs, ReadOnly: opts.readOnly, Program: opts.argv, Environment: task.env, Workdir: "/",
		Hostname: unlessZero(opts.hostname), Init: opts.init, UID: opts.user.uid, GID: opts.user.gid,
		Capabilities: []string{}, Bounding: notNil(h.caps.names()), NewPrivs: opts.newPrivs, Namespaces: []string{"cgroup"},
		Masked: notNil(config.MaskPaths), Readonly: notNil(config.ReadonlyPaths), Sysctl: config.Sysctl,
	}
	if opts.user.uid == 0 {
		e.Capabilities = notNil(h.caps.names())
	}
	if opts.workdir != "" {
		e.Workdir = opts.workdir
	}
	if opts.ids.wanted {
		e.IDs = &idsConfig{unlessZero(opts.ids.first), opts.ids.count}
		if e.IDs.First == nil {
			e.IDs.Count = defaultIDs
		}
	}
	e.Seccomp = seccompConfig{Profile: "docker", Instructions: len(h.filter), Compat: opts.calls.compat || len(h.filter) == 0}
	if opts.calls.profile != "" {
		e.Seccomp.Profile = opts.calls.profile
	}
	for _, ns := range config.Namespaces {
		if ns.Path == "" {
			e.Namespaces = append(e.Namespaces, configs.NsName(ns.Type))
		}
	}
	slices.Sort(e.Namespaces)
	e.describe(config, opts, h)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(e)
}

// describe adds the lists.
func (e *effective) describe(config *configs.Config, opts options, h host) {
	for _, d := range config.Devices {
		e.Devices = append(e.Devices, deviceConfig{d.Path, string(d.Permissions)})
	}
	for _, m := range config.Mounts {
		options := notNil(mountOptions(m.Flags))
		if m.Data != "" {
			options = append(options, strings.Split(m.Data, ",")...)
		}
		e.Mounts = append(e.Mounts, mountConfig{m.Destination, m.Device, options})
	}
	n := opts.network
	e.Network = networkConfig{Kind: n.attach.kind, To: n.attach.to, Addresses: notNil(n.address), Routes: notNil(n.routes(h.bridge)), Strict: n.strict}
	if n.attach.kind == netBridge {
		e.Network.To = n.bridge
	}
	var rec record
	rec.ask(opts)
	e.Limits = rec.Limits
}

// notNil is a list that JSON shows as one, also if it is empty.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
