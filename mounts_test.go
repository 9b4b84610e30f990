package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// inMounts runs f in a mount namespace of its own, in which directory is a mount, with a
// umask that hides what is made from others.
func inMounts(t *testing.T, directory string, f func(p *places) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		tree := -1
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			tree, err = unix.OpenTree(unix.AT_FDCWD, directory, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		}
		if err == nil {
			err = unix.MoveMount(tree, "", unix.AT_FDCWD, directory, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		if err != nil {
			ended <- fmt.Errorf("make a namespace: %w", err)
			return
		}
		p := &places{at: map[string]int{"/": tree}}
		unix.Umask(0o077) // this thread's alone now
		err = f(p)
		p.close()
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// mountThere mounts one of a container's file systems.
func mountThere(p *places, at string) error {
	for _, m := range mounts() {
		if m.Destination != at {
			continue
		}
		tree, err := newMount(m)
		if err == nil {
			err = p.attach(at, tree)
		}
		return err
	}
	return errors.New("a container has no " + at)
}

// isReadOnly tells whether the mount that path is in can be read only.
func isReadOnly(path string) (bool, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	return fs.Flags&unix.ST_RDONLY != 0, err
}

// Files, directories, and what this kernel does not have.
func TestReadonlyAndMasks(t *testing.T) {
	root := t.TempDir()
	inMounts(t, root, func(p *places) error {
		if err := errors.Join(mountThere(p, "/proc"), mountThere(p, "/dev")); err != nil {
			return err
		}
		if err := p.device(nodeOf(deviceNodes()[0])); err != nil {
			return err
		}
		for path, exists := range map[string]bool{"/proc/version": true, "/proc/sys": true, "/proc/nothing": false, "/proc/no/thing": false} {
			if err := p.readonly(path); err != nil {
				return fmt.Errorf("read-only %s: %w", path, err)
			}
			if is, err := isReadOnly(root + path); exists && (err != nil || !is) {
				return fmt.Errorf("%s: read-only %v, %w", path, is, err)
			}
		}
		if is, err := isReadOnly(root + "/proc/uptime"); err != nil || is {
			return fmt.Errorf("all of /proc: read-only %v, %w", is, err)
		}
		for _, path := range []string{"/proc/uptime", "/proc/fs", "/proc/bus", "/proc/nothing"} {
			if err := p.cover(path); err != nil {
				return fmt.Errorf("mask %s: %w", path, err)
			}
		}
		text, err := os.ReadFile(root + "/proc/uptime")
		list, err2 := os.ReadDir(root + "/proc/fs")
		list2, err3 := os.ReadDir(root + "/proc/bus")
		if len(text) > 0 || len(list)+len(list2) > 0 || err != nil || err2 != nil || err3 != nil {
			return fmt.Errorf("the masks show %q, %v, %v: %w", text, list, list2, errors.Join(err, err2, err3))
		}
		return nil
	})
}

// Nodes have their modes and owners whatever the umask, the directories above can be
// entered, and one that is there already is left.
func TestNodes(t *testing.T) {
	root := t.TempDir()
	inMounts(t, root, func(p *places) error {
		if err := mountThere(p, "/dev"); err != nil {
			return err
		}
		char := func(path string) *devices.Device {
			return &devices.Device{Path: path, FileMode: 0o640, Uid: 5, Gid: 6, Rule: devices.Rule{Type: devices.CharDevice, Major: 1, Minor: 3}}
		}
		block := char("/dev/a/b/disk")
		block.Type, block.FileMode = devices.BlockDevice, 0o666
		for _, d := range []*devices.Device{char("/dev/node"), block, char("/dev/a/b/disk")} {
			if err := p.device(nodeOf(d)); err != nil {
				return fmt.Errorf("%s: %w", d.Path, err)
			}
		}
		for path, mode := range map[string]uint32{"/dev/node": unix.S_IFCHR | 0o640, "/dev/a/b/disk": unix.S_IFBLK | 0o666, "/dev/a": unix.S_IFDIR | 0o755, "/dev/a/b": unix.S_IFDIR | 0o755} {
			var st unix.Stat_t
			if err := unix.Lstat(root+path, &st); err != nil {
				return err
			}
			node := st.Mode&unix.S_IFMT != unix.S_IFDIR
			if st.Mode != mode || node && (st.Uid != 5 || st.Gid != 6 || st.Rdev != unix.Mkdev(1, 3)) {
				return fmt.Errorf("%s: %#o, of %d and %d, %#x", path, st.Mode, st.Uid, st.Gid, st.Rdev)
			}
		}
		return nil
	})
}

// What takes the place of a directory of DIR is not followed.
func TestAttachFollowsNoLink(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Symlink(outside, filepath.Join(root, "proc")), os.Symlink(outside, filepath.Join(root, "dev"))); err != nil {
		t.Fatal(err)
	}
	inMounts(t, root, func(p *places) error {
		for _, at := range []string{"/proc", "/dev"} {
			if err := mountThere(p, at); err == nil {
				return fmt.Errorf("%s is mounted", at)
			}
		}
		if list, err := os.ReadDir(outside); err != nil || len(list) > 0 {
			return fmt.Errorf("elsewhere there is %v, %w", list, err)
		}
		return nil
	})
}

// All that mount(2) would have been told is so.
func TestNewMount(t *testing.T) {
	root := t.TempDir()
	inMounts(t, root, func(p *places) error {
		m := &configs.Mount{Source: "name", Device: "tmpfs", Destination: "/a", Flags: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_STRICTATIME, Data: "mode=710,size=64k"}
		tree, err := newMount(m)
		if err == nil {
			err = p.attach(m.Destination, tree)
		}
		if err != nil {
			return err
		}
		table, err := readMounts("/proc/thread-self/mountinfo")
		if err != nil {
			return err
		}
		for _, got := range table {
			if got.Mountpoint != root+"/a" {
				continue
			}
			if got.Options != "ro,nosuid,nodev,noexec" || got.Source != "name" {
				return fmt.Errorf("it is %+v", got)
			}
			for _, o := range []string{"ro", "size=64k", "mode=710"} {
				if !slices.Contains(strings.Split(got.VFSOptions, ","), o) {
					return fmt.Errorf("%s is not in %q", o, got.VFSOptions)
				}
			}
			return nil
		}
		return errors.New("it is not mounted")
	})
}
