// The file systems, devices and masks of the program, as contain's init makes them in the
// rootfs. libcontainer would take twice to ten times as long for each, since it looks at
// every name from above the rootfs, before and after (3.5 ms in all; here it is 1). All
// names here are of file systems that are new and nobody else's, but for three
// directories of DIR, where a symbolic link is not followed.

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// places are mounts in the rootfs, by descriptors of their roots. All that is done to them
// runs in the container's init.
type places struct {
	at   map[string]int // by their names there: "/" is the rootfs itself
	mask int            // what covers the directories that are masked; 0: none yet
}

// locate returns the mount that path is in, without one at path itself, and the rest of
// path from there.
func (p *places) locate(path string) (dir int, name string) {
	for at := path; at != "/"; {
		at = filepath.Dir(at)
		if dir, ok := p.at[at]; ok {
			return dir, strings.TrimPrefix(path[len(at):], "/")
		}
	}
	return -1, path
}

// attach mounts the tree behind a descriptor at path, in a directory that is made if
// need be.
func (p *places) attach(path string, tree int) error {
	dir, name := p.locate(path)
	if err := unix.Mkdirat(dir, name, 0o755); err != nil && err != unix.EEXIST {
		if dir == p.at["/"] {
			return fmt.Errorf("DIR has no directory %s, and none can be made: %w", name, err)
		}
		return fmt.Errorf("make the directory: %w", err)
	}
	if err := unix.MoveMount(tree, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	p.at[path] = tree
	return nil
}

// newMount makes a file system that is mounted nowhere yet.
func newMount(m *configs.Mount) (tree int, err error) {
	fs, err := unix.Fsopen(m.Device, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", m.Source); err != nil {
		return -1, fmt.Errorf("fsconfig source: %w", err)
	}
	options := strings.Split(m.Data, ",")
	if m.Flags&unix.MS_RDONLY != 0 { // the file system, too, not only this mount
		options = append(options, "ro")
	}
	for _, option := range options {
		name, value, valued := strings.Cut(option, "=")
		if valued {
			err = unix.FsconfigSetString(fs, name, value)
		} else if name != "" {
			err = unix.FsconfigSetFlag(fs, name)
		}
		if err != nil {
			return -1, fmt.Errorf("fsconfig %s: %w", option, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("fsconfig: %w", err)
	}
	if tree, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, mountAttributes(m.Flags)); err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return tree, nil
}

// mountAttributes are the flags of mount(2) as fsmount(2) takes them: four are the same.
func mountAttributes(flags int) int {
	attributes := flags & (unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC)
	if flags&unix.MS_STRICTATIME != 0 {
		attributes |= unix.MOUNT_ATTR_STRICTATIME
	}
	return attributes
}

// close closes the descriptors.
func (p *places) close() {
	for _, tree := range p.at {
		unix.Close(tree)
	}
	if p.mask != 0 {
		unix.Close(p.mask)
	}
}

// bind mounts a directory of the host at path, read-only.
func (p *places) bind(path, source string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", quoted(source), err)
	}
	if err := p.attach(path, tree); err != nil {
		return err
	}
	delete(p.at, path) // nothing else is mounted there
	return then(protect(tree), unix.Close(tree))
}

// protect makes a mount read-only, and more. mount_setattr(2) is of Linux 5.12; what is
// mounted at /proc is the host's.
func protect(tree int) error {
	const hard = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", pathOf(tree), "", unix.MS_REMOUNT|unix.MS_BIND|hard, ""); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	return nil
}

// pathOf is a path to what a descriptor is of, be it a file, and whatever is mounted over
// it: the link is not one by name.
func pathOf(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// node is a device's, in numbers as mknod(2) takes them.
type node struct {
	path                   string
	mode, device, uid, gid int
}

// nodeOf is the node of a configured device.
func nodeOf(d *devices.Device) node {
	kind := map[devices.Type]int{devices.CharDevice: unix.S_IFCHR, devices.BlockDevice: unix.S_IFBLK}[d.Type]
	return node{d.Path, kind | int(d.FileMode), int(unix.Mkdev(uint32(d.Major), uint32(d.Minor))), int(d.Uid), int(d.Gid)}
}

// numbers are those of a node, as readNode reads them.
func (n node) numbers() string {
	return fmt.Sprint(n.mode, n.device, n.uid, n.gid) // with spaces between
}

// device makes a node, and the directories above it.
func (p *places) device(n node) error {
	dir, name := p.locate(n.path)
	for i, c := range name {
		if c != '/' {
			continue
		}
		err := unix.Mkdirat(dir, name[:i], 0o755)
		if err == nil {
			err = unix.Fchmodat(dir, name[:i], 0o755, 0) // whatever the umask
		}
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	if err := unix.Mknodat(dir, name, uint32(n.mode), n.device); err == unix.EEXIST {
		return nil
	} else if err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	if err := unix.Fchmodat(dir, name, uint32(n.mode), 0); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	if n.uid == 0 && n.gid == 0 {
		return nil
	}
	if err := unix.Fchownat(dir, name, n.uid, n.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown: %w", err)
	}
	return nil
}

// readonly makes a tree in a mount read-only; if there is none, this kernel has no such.
func (p *places) readonly(path string) error {
	dir, name := p.locate(path)
	tree, err := unix.OpenTree(dir, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return protect(tree)
}

// cover masks a directory with an empty one and a file with /dev/null; if there is
// neither, this kernel has no such.
func (p *places) cover(path string) error {
	dir, name := p.locate(path)
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	mask, err := p.newMask(st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return fmt.Errorf("make a mask: %w", err)
	}
	if err := unix.MoveMount(mask, "", dir, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	if mask != p.mask {
		unix.Close(mask)
	}
	return nil
}

// newMask returns what covers a directory, or a file. All directories are covered with
// the same one, of which only the first tree can be mounted before others are made.
func (p *places) newMask(directory bool) (tree int, err error) {
	const clone = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	switch {
	case !directory:
		dir, name := p.locate("/dev/null")
		return unix.OpenTree(dir, name, clone)
	case p.mask != 0:
		return unix.OpenTree(p.mask, "", clone|unix.AT_EMPTY_PATH)
	}
	p.mask, err = newMount(&configs.Mount{
		Source: "tmpfs", Device: "tmpfs", Data: "nr_blocks=1,nr_inodes=1",
		Flags: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC,
	})
	return p.mask, err
}
