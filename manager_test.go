package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
)

var errMine = errors.New("mine")

// mine is a cgroup manager that can be recognised.
type mine struct{ cgroups.Manager }

func (mine) GetAllPids() ([]int, error) { return nil, errMine }

// If this fails after an update of libcontainer, find out where it keeps its
// manager now, and that Start still uses it for Apply, Set and Destroy.
func TestManagerIsReplaced(t *testing.T) {
	lib := new(libcontainer.Container)
	m, err := managerOf(lib)
	if err != nil {
		t.Fatal(err)
	}
	*m = mine{}
	if _, err := lib.Processes(); !errors.Is(err, errMine) {
		t.Errorf("libcontainer does not use the manager it was given: %v", err)
	}
}

// A v2 hierarchy made of files, for what only reads it.
func cgroupTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestNotEnabledNamesTheCommand(t *testing.T) {
	root := cgroupTree(t, map[string]string{
		"free/cgroup.procs": "", "free/cgroup.type": "domain\n",
		"busy/cgroup.procs": "1\n", "busy/cgroup.type": "domain\n",
		"top/cgroup.procs": "1\n",
	})
	for dir, hint := range map[string]string{
		"free": "echo +memory > " + root + "/free/cgroup.subtree_control",
		"top":  "echo +memory > " + root + "/top/cgroup.subtree_control",
		"busy": "mkdir " + root + "/busy/init && for p in $(cat " + root + "/busy/cgroup.procs); do echo $p > " + root +
			"/busy/init/cgroup.procs; done; echo +memory > " + root + "/busy/cgroup.subtree_control",
	} {
		err := notEnabled(filepath.Join(root, dir), "memory")
		var h *hintError
		if !errors.As(err, &h) || h.hint != hint {
			t.Errorf("%s: %v, hint %q; want %q", dir, err, h.hint, hint)
		}
	}
}

func TestSliceOf(t *testing.T) {
	for cgroup, want := range map[string]string{
		"/user.slice/user-0.slice/session-3.scope": "user-0.slice",
		"/system.slice/cron.service":               "system.slice",
		"/machine.slice/a.service/sub":             "machine.slice",
		"/init.scope":                              "system.slice",
		"/":                                        "system.slice",
	} {
		if got := sliceOf(cgroup); got != want {
			t.Errorf("sliceOf(%q) = %q, want %q", cgroup, got, want)
		}
	}
}
