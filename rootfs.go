// The rootfs: which directory DIR means, and whether it can be a root.
//
// Everything below DIR is opened with openat2(2) and RESOLVE_IN_ROOT, so that
// a symbolic link in DIR is followed as the program would follow it and never
// out of DIR.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rootfs is a directory that is fit to become the program's /.
type rootfs struct {
	dir      *os.File
	readOnly bool // as the program sees it
}

// openRootfs resolves and checks dir. It changes nothing.
func openRootfs(dir string, readOnly bool) (*rootfs, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r := &rootfs{dir: os.NewFile(uintptr(fd), dir), readOnly: readOnly}
	if err := r.check(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rootfs) close() { r.dir.Close() }

// clone returns the mounts from the directory on as a tree of its own, attached
// nowhere: what is mounted in the container is what was checked, whatever has
// become of its name, and the name may hold any byte. The host sees nothing of it.
func (r *rootfs) clone(ids idRange) (*os.File, error) {
	fd, err := unix.OpenTree(int(r.dir.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("-chroot %s: is not in this mount namespace, or on an unbindable mount", quoted(r.dir.Name()))
	} else if err != nil {
		return nil, fmt.Errorf("-chroot %s: open_tree: %w", quoted(r.dir.Name()), err)
	}
	tree := os.NewFile(uintptr(fd), "rootfs")
	if r.readOnly {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			tree.Close()
			return nil, fmt.Errorf("-read-only: mount_setattr (Linux 5.12): %w", err)
		}
	}
	if err := ids.apply(tree); err != nil {
		tree.Close()
		return nil, err
	}
	return tree, nil
}

// check refuses directories that pivot_root(2) cannot use or that would give
// the program the host instead of a root of its own.
func (r *rootfs) check() error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(r.dir.Fd()), &fs); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	switch fs.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return errors.New("is in a pseudo file system of the kernel, not usable as a root")
	}
	own, err := r.dir.Stat()
	if err != nil {
		return reason(err)
	}
	if own.Sys().(*syscall.Stat_t).Nlink == 0 { // contain's working directory, removed
		return unix.ENOENT
	}
	for _, host := range []string{"/", "/dev"} {
		if info, err := os.Stat(host); err == nil && os.SameFile(own, info) {
			return fmt.Errorf("is the host's own %s, not usable as a root", host)
		}
	}
	return r.checkMountPoints(r.readOnly || fs.Flags&unix.ST_RDONLY != 0)
}

// checkMountPoints makes sure that what will be mounted over is a directory of
// DIR's own, or nothing yet where it can still be made.
func (r *rootfs) checkMountPoints(readOnly bool) error {
	for _, name := range []string{"proc", "sys", "dev"} {
		f, err := r.open(name, unix.O_PATH|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) && readOnly {
			return withHint(fmt.Errorf("has no directory %s, and is read-only", name),
				"make the directories proc, sys and dev in it")
		} else if errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return fmt.Errorf("%s in it: %w", name, reason(err))
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return fmt.Errorf("%s in it: %w", name, reason(err))
		}
		if !info.IsDir() {
			return fmt.Errorf("%s in it is not a directory (it is mounted over)", name)
		}
	}
	return nil
}

// open opens a path as the program would see it, with / meaning DIR. Paths
// below what is mounted at the start (/proc, /dev, /sys) lead into DIR's own
// directories of those names.
func (r *rootfs) open(path string, flags uint64) (*os.File, error) {
	fd, err := openInRoot(int(r.dir.Fd()), path, flags, unix.RESOLVE_NO_MAGICLINKS)
	if errors.Is(err, unix.ENOSYS) {
		return nil, errors.New("this kernel has no openat2 (Linux 5.6)")
	} else if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openInRoot opens a path with / meaning the directory root, and with more restrictions
// if wanted.
func openInRoot(root int, path string, flags, restrictions uint64) (int, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | restrictions}
	const tries = 1000
	for range tries {
		fd, err := unix.Openat2(root, path, how)
		if err != unix.EINTR && err != unix.EAGAIN { // EAGAIN: a rename, or a mount, anywhere raced with ".."
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// reopen opens for reading what an O_PATH descriptor, found to be a regular
// file, refers to, whatever has happened to its name. It does not wait for a
// lease on the file, which anyone else in DIR may hold: then it is EAGAIN.
func reopen(f *os.File) (*os.File, error) {
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// home returns the home directory of a user in DIR's /etc/passwd, or "/". The
// file may be anything that a program of an earlier run has put there, so it is
// neither waited for nor read without end.
func (r *rootfs) home(uid uint32) string {
	path, err := r.open("/etc/passwd", unix.O_PATH)
	if err != nil {
		return "/"
	}
	defer path.Close()
	if info, err := path.Stat(); err != nil || !info.Mode().IsRegular() {
		return "/"
	}
	f, err := reopen(path)
	if err != nil {
		return "/"
	}
	defer f.Close()
	user := strconv.FormatUint(uint64(uid), 10)
	lines := bufio.NewScanner(io.LimitReader(f, 16<<20))
	for lines.Scan() {
		// name:password:UID:GID:comment:home:shell, passwd(5)
		if f := strings.Split(lines.Text(), ":"); len(f) >= 6 && f[2] == user && strings.HasPrefix(f[5], "/") && !strings.Contains(f[5], "\x00") {
			return f[5]
		}
	}
	return "/"
}

// reason strips the operation and path that os puts around an error, for
// messages that have named the path already.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// holds tells whether a path, without symbolic links, leads through DIR; but for the host's
// root, which holds all.
func (r *rootfs) holds(path string) bool {
	info, err := r.dir.Stat()
	for err == nil && path != "/" {
		if at, err := os.Stat(path); err == nil && os.SameFile(info, at) {
			return true
		}
		path = filepath.Dir(path)
	}
	return false
}
