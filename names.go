// Names: an /etc/resolv.conf and an /etc/hosts of the program's own, mounted over
// those of DIR, which are not written to.

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ownFiles are the paths, in the order of the descriptors from PID1_FILES on.
var ownFiles = [...]string{"/etc/resolv.conf", "/etc/hosts"}

// hostName is a name and its address.
type hostName struct {
	name string
	ip   netip.Addr
}

// isHostName tells whether s can be a name in a file of hosts: letters, digits and _,
// within it . and - too.
func isHostName(s string) bool {
	return s != "" && len(s) <= 254 && strings.Trim(s, wordCharacters+".-") == "" && !strings.ContainsAny(s[:1]+s[len(s)-1:], ".-")
}

const wordCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_" + digits

// parseHostName reads NAME:IP.
func parseHostName(s string) (hostName, error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok {
		return hostName{}, errors.New("not NAME:IP, such as db:192.168.2.18")
	}
	if !isHostName(name) {
		return hostName{}, errors.New("not a host name")
	}
	ip, err := parseServer(text)
	return hostName{name, ip}, err
}

// parseServer reads an address without a prefix length.
func parseServer(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" || ip.Is4In6() || ip.IsUnspecified() || ip.IsMulticast() {
		return netip.Addr{}, errors.New("not an address, such as 192.168.2.1")
	}
	return ip, nil
}

// contents returns what the program's own files hold; nil for one that stays DIR's.
func (n network) contents() (files [len(ownFiles)][]byte) {
	for _, server := range n.dns {
		files[0] = fmt.Appendf(files[0], "nameserver %s\n", server)
	}
	if len(n.hosts) > 0 {
		files[1] = []byte("127.0.0.1 localhost\n::1 localhost\n")
	}
	for _, h := range n.hosts {
		files[1] = fmt.Appendf(files[1], "%s %s\n", h.ip, h.name)
	}
	return files
}

// checkOwnFiles reports a file that has no place to be mounted at.
func (r *rootfs) checkOwnFiles(n network) error {
	top, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.dir.Fd()))
	var found [len(ownFiles)]string
	for i, contents := range n.contents() {
		if contents == nil {
			continue
		}
		flag := [...]string{"dns", "hosts"}[i]
		f, err := r.open(ownFiles[i], unix.O_PATH)
		if errors.Is(err, unix.ENOENT) {
			return withHint(fmt.Errorf("-%s: the rootfs has no file %s to mount the program's own at", flag, ownFiles[i]),
				"make it an empty file")
		} else if err != nil {
			return fmt.Errorf("-%s: %s in the rootfs: %w", flag, ownFiles[i], reason(err))
		}
		info, err := f.Stat()
		path, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		f.Close()
		found[i] = strings.TrimPrefix(path, strings.TrimSuffix(top, "/"))
		switch {
		case err != nil || !info.Mode().IsRegular():
			return fmt.Errorf("-%s: %s in the rootfs is not a file", flag, ownFiles[i])
		case mountedOver(found[i]):
			return fmt.Errorf("-%s: %s in the rootfs leads to %s, which is mounted over", flag, ownFiles[i], quoted(found[i]))
		case i > 0 && found[i] == found[0]:
			return fmt.Errorf("-%s: %s and %s in the rootfs are one file", flag, ownFiles[0], ownFiles[i])
		}
	}
	return nil
}

// openOwnFiles returns what is to be in the files, for PID1_FILES on. In the place of
// one that is not wanted there is /dev/null.
func openOwnFiles(n network) (files []*os.File, err error) {
	for i, contents := range n.contents() {
		var f *os.File
		if contents == nil {
			f, err = os.Open(os.DevNull)
		} else {
			f, err = sealedFile("contain-file", contents)
		}
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("make the program's %s: %w", ownFiles[i], err)
		}
		files = append(files, f)
	}
	return files, nil
}

// mountOwnFiles mounts those that are wanted in the rootfs that root is the mount of,
// from a tmpfs that is seen nowhere else. (A file without a name cannot be mounted,
// get_mountpoint, fs/namespace.c.) It runs in the container's init, whose /sys is
// still the host's: the tmpfs lies on it meanwhile.
func mountOwnFiles(root, first int) error {
	const place = "/sys"
	var st [len(ownFiles)]unix.Stat_t
	wanted := false
	for i := range ownFiles {
		if err := unix.Fstat(first+i, &st[i]); err != nil {
			return err
		}
		wanted = wanted || st[i].Mode&unix.S_IFMT == unix.S_IFREG
	}
	if !wanted {
		return nil
	}
	if err := unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	for i, path := range ownFiles {
		if st[i].Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if err := mountOwnFile(root, path, first+i, filepath.Join(place, filepath.Base(path))); err != nil {
			return fmt.Errorf("the program's %s: %w", path, err)
		}
	}
	return unix.Unmount(place, unix.MNT_DETACH)
}

// mountOwnFile copies the file fd to the name temporary, and mounts that at path in
// root, read-only. Symbolic links are followed as the program would.
func mountOwnFile(root int, path string, fd int, temporary string) error {
	contents, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(0o644); err != nil { // whatever the umask
		return err
	}
	if _, err := f.Write(contents); err != nil {
		return err
	}
	tree, err := unix.OpenTree(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount_setattr (Linux 5.12): %w", err)
	}
	place, err := openInRoot(root, path, unix.O_PATH, unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return err
	}
	defer unix.Close(place)
	return unix.MoveMount(tree, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
