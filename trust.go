// Whether only root can change what DIR is while a program starts. Who can rename
// directories on the way to it, or in it, could exchange them between a check and a
// use: libcontainer, which mounts with -userns, skips masks that it does not find (18 of
// 60 starts under attack ran with a writable /proc/sys).

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// checkTrust walks to dir as the kernel does, and reports a directory or symbolic link
// on the way, or dir itself, that others than root can change. A sticky directory such
// as /tmp is good for entries that root owns. Opened is what was opened by that name,
// before; nil is anything.
func checkTrust(dir string, opened *os.File) error {
	if !filepath.IsAbs(dir) {
		if err := checkTrust(workingDirectory(), nil); err != nil {
			return err
		}
	}
	at, err := unix.Open(map[bool]string{true: "/", false: "."}[filepath.IsAbs(dir)], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { unix.Close(at) }()
	parts, links := split(dir), 0
	for len(parts) > 0 {
		name := parts[0]
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		target, err := step(at, next)
		if err != nil {
			unix.Close(next)
			return err
		}
		if target == "" {
			unix.Close(at)
			at, parts = next, parts[1:]
			continue
		}
		unix.Close(next)
		if links++; links > 40 { // MAXSYMLINKS
			return unix.ELOOP
		}
		if parts = append(split(target), parts[1:]...); filepath.IsAbs(target) {
			unix.Close(at)
			if at, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
				return err
			}
		}
	}
	return then(trusted(at, nil), sameDirectory(at, opened))
}

// makeStateDir makes dir, where contain keeps what others must not touch: the place a
// rootfs is mounted at, and the locks of addresses. It reports one that others than root
// could change, or exchange for another, before it makes anything, and returns its path
// without symbolic links: libcontainer follows none.
func makeStateDir(dir string) (string, error) {
	if link, err := os.Lstat(dir); err == nil && link.Mode()&os.ModeSymlink != 0 {
		return "", errors.New("is a symbolic link")
	}
	there := dir
	for {
		if _, err := os.Lstat(there); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(there) == there {
			break
		}
		there = filepath.Dir(there)
	}
	if info, err := os.Lstat(there); there != dir && err == nil && info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		there = filepath.Dir(there) // where all may make something, but not exchange what is root's
	}
	const hint = "it must be root's, and so must be the directories above it: chown root, chmod 700"
	if err := checkTrust(there, nil); err != nil {
		return "", withHint(err, hint)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", reason(err)
	}
	if err := checkTrust(dir, nil); err != nil {
		return "", withHint(err, hint)
	}
	return filepath.EvalSymlinks(dir)
}

// sameDirectory reports that the walk has led elsewhere than the kernel's before.
func sameDirectory(at int, opened *os.File) error {
	if opened == nil {
		return nil
	}
	var here, there unix.Stat_t
	if err := then(unix.Fstat(at, &here), unix.Fstat(int(opened.Fd()), &there)); err != nil {
		return err
	}
	if here.Dev != there.Dev || here.Ino != there.Ino {
		return errors.New("was exchanged while it was looked at")
	}
	return nil
}

// split returns the names in a path.
func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// workingDirectory is contain's, without symbolic links, whatever $PWD says.
func workingDirectory() string {
	dir, err := os.Readlink("/proc/self/cwd")
	if err != nil {
		return "/"
	}
	return strings.TrimSuffix(dir, " (deleted)") // which is not found then
}

// step reports a directory in which others than root could exchange the entry next,
// and returns where next leads if it is a symbolic link.
func step(dir, next int) (target string, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(next, &st); err != nil {
		return "", err
	}
	if err := trusted(dir, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", err
	}
	var text [unix.PathMax]byte
	n, err := unix.Readlinkat(next, "", text[:])
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(text[:max(n, 0)]), err
}

// trusted reports a directory that others than root can write to: at all, or so that
// entry could be exchanged.
func trusted(dir int, entry *unix.Stat_t) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	who := ""
	switch {
	case st.Uid != 0:
		who = fmt.Sprintf("user %d, who owns it", st.Uid)
	case entry != nil && st.Mode&unix.S_ISVTX != 0 && entry.Uid == 0:
	case st.Mode&0o002 != 0:
		who = "everybody"
	case st.Mode&0o020 != 0: // or somebody whom an ACL names, acl(5)
		who = fmt.Sprintf("group %d, or by an ACL", st.Gid)
	}
	if who == "" {
		return nil
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		name = "a directory on the way"
	}
	return withHint(errors.New(quoted(name)+" can be changed by "+who),
		"-allow-untrusted-root, if nobody there would attack a program that starts")
}
