// State entries: whose they are, and what of their text is believed.

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

func TestIsCgroupOf(t *testing.T) {
	const id = "0123abcd"
	for dir, want := range map[string]bool{
		"/sys/fs/cgroup/memory/contain-0123abcd":                             true,
		"/sys/fs/cgroup/a b/contain-0123abcd":                                true,
		"/sys/fs/cgroup/system.slice/contain-0123abcd.scope":                 true,
		"/sys/fs/cgroup/system.slice/contain-0123abcd.scope/program":         true,
		"/sys/fs/cgroup/memory/contain-0123abce":                             false,
		"/sys/fs/cgroup/memory/contain-0123abcd/inner":                       false,
		"/sys/fs/cgroup/memory/contain-0123abcd/":                            false,
		"/sys/fs/cgroup/memory/../contain-0123abcd":                          false,
		"sys/fs/cgroup/contain-0123abcd":                                     false,
		"/sys/fs/cgroup/memory/xcontain-0123abcd":                            false,
		"/sys/fs/cgroup/system.slice/contain-0123abce.scope/program":         false,
		"/sys/fs/cgroup/system.slice/contain-0123abcd.scope/program/program": false,
		"/": false, "": false, ".": false, "contain-0123abcd": false,
	} {
		if got := isCgroupOf(dir, id); got != want {
			t.Errorf("%q: %v", dir, got)
		}
	}
}

// entryWith makes a state entry that says text.
func entryWith(t testing.TB, text []byte) *os.File {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "0123abcd")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, madeName), text, 0o600)); err != nil {
		t.Fatal(err)
	}
	f, err := takeEntry(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestTakeEntry(t *testing.T) {
	f := entryWith(t, nil)
	if _, err := takeEntry(f.Name()); !errors.Is(err, errSwept) {
		t.Errorf("taken twice: %v", err)
	}
	f.Close()
	again, err := takeEntry(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := takeEntry(f.Name() + "none"); !errors.Is(err, errSwept) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := takeEntry(filepath.Join(f.Name(), madeName)); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
}

// The scope is noted around the program's cgroup: it may stay when that has never been.
func TestNoteOfAScope(t *testing.T) {
	const id = "0123abcd"
	m, err := newCgroup(id, cgroupHost{v2: true, slice: "s.slice", parent: "/sys/fs/cgroup/s.slice"}, &cgroups.Cgroup{Resources: &cgroups.Resources{}})
	if err != nil {
		t.Fatal(err)
	}
	f := entryWith(t, nil)
	if err := (made{cgroups: cgroupDirs(m)}).note(f); err != nil {
		t.Fatal(err)
	}
	const scope = "/sys/fs/cgroup/s.slice/contain-0123abcd.scope"
	if got := noted(f).cgroups; !slices.Equal(got, []string{scope + "/program", scope}) {
		t.Errorf("noted %q", got)
	}
}

// What is no cgroup is not removed, whatever its name.
func TestSweepLeavesDirectories(t *testing.T) {
	other := filepath.Join(t.TempDir(), "contain-0123abcd")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	f := entryWith(t, []byte("cgroup "+other+"\n"))
	if got := noted(f).cgroups; !slices.Equal(got, []string{other}) {
		t.Fatalf("recorded %q", got)
	}
	s := sweeper{dir: filepath.Dir(f.Name()), removed: func(what string) { t.Errorf("removed %s", what) }}
	if err := s.removeCgroups(noted(f).cgroups); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// Whatever a state entry says, only cgroups of its own id come of it.
func FuzzStateEntry(f *testing.F) {
	for _, s := range []string{"", "\n", "cgroup /sys/fs/cgroup/contain-0123abcd\n", "cgroup /a/contain-0123abcd", "netns x\ncgroup /a/contain-0123abcd.scope/program\ncgroup /\ncgroup ..", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, dir := range noted(entryWith(t, text)).cgroups {
			parts := strings.Split(dir, "/")
			last := parts[len(parts)-1]
			if last == "program" {
				last = parts[len(parts)-2]
			}
			ours := last == "contain-0123abcd" || last == "contain-0123abcd.scope"
			if parts[0] != "" || !ours || slices.Contains(parts, "..") || strings.Contains(dir, "\n") || !bytes.Contains(text, []byte(dir)) {
				t.Errorf("%q", dir)
			}
		}
	})
}

func TestGarbageCollectionFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := collectGarbage(dir, io.Discard); err == nil {
		t.Error("a file as state directory: no error")
	}
}
