// -userns: the program's root is nobody on the host. Its ids are a range of the host's
// that nobody else has, and DIR is shown through an id-mapped mount, so that its files
// belong to the same ids inside as outside, and nothing is changed in it.

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// idRange is the host's ids that those of a user namespace are, from 0 on.
type idRange struct {
	wanted       bool
	first, count uint32 // count 0: one that is free
}

// defaultIDs is how many ids a user namespace has unless told otherwise: what fits in
// 16 bits, with nobody (65534).
const defaultIDs = 1 << 16

// idsText is a flag's value that may be missing, and is parsed later.
type idsText string

func (t *idsText) String() string   { return string(*t) }
func (t *idsText) IsBoolFlag() bool { return true }
func (t *idsText) Set(s string) error {
	*t = idsText(s)
	return nil
}

// parseIDs reads true, false or HOSTID:COUNT.
func parseIDs(s string) (r idRange, err error) {
	switch s {
	case "true":
		return idRange{wanted: true}, nil
	case "", "false":
		return idRange{}, nil
	}
	first, count, _ := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(first, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	const most = 1<<32 - 2 // 4294967295 is no id, setresuid(2)
	switch {
	case err1 != nil || err2 != nil || !isDigits(first) || !isDigits(count):
		return r, errors.New("not HOSTID:COUNT, numbers")
	case a == 0:
		return r, errors.New("0 is root on the host, too")
	case n <= ttyGroup:
		return r, fmt.Errorf("too few ids: the terminals' group is %d", ttyGroup)
	case a+n-1 > most:
		return r, fmt.Errorf("the ids end at %d", uint64(most))
	}
	return idRange{wanted: true, first: uint32(a), count: uint32(n)}, nil
}

// check reports a user that has no id in the range.
func (r idRange) check(u programUser) error {
	count := r.count
	if count == 0 {
		count = defaultIDs
	}
	if r.wanted && max(u.uid, u.gid) >= count {
		return fmt.Errorf("-user %d:%d: not among the %d ids of -userns", u.uid, u.gid, count)
	}
	return nil
}

// ttyGroup owns the terminals in /dev/pts.
const ttyGroup = 5

// usersName is a file in the state directory whose locks say which ranges are in use,
// as claimsName does for addresses.
const usersName = "users"

// claimIDs takes a range that no other contain has. The place is where systemd-nspawn(1)
// takes its from, too, less the first half.
func (o *options) claimIDs() (*claim, error) {
	r := &o.ids
	if !r.wanted || r.count != 0 {
		return nil, nil
	}
	dir, err := claimsDir(defaultStateDir, o.stateDir)
	if err != nil {
		return nil, err
	}
	c, err := openClaims(filepath.Join(dir, usersName))
	if err != nil {
		return nil, err
	}
	const from, to, tries = 0x4000, 0x6fff, 1000 // times defaultIDs
	for range tries {
		n := from + rand.Int64N(to-from)
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: n, Len: 1}
		if unix.FcntlFlock(c.file.Fd(), unix.F_SETLK, &lock) == nil {
			r.first, r.count = uint32(n*defaultIDs), defaultIDs
			return c, nil
		}
	}
	c.release()
	return nil, errors.New("-userns: no range of user ids is free")
}

func (r idRange) mappings() []configs.IDMap {
	return []configs.IDMap{{ContainerID: 0, HostID: int64(r.first), Size: int64(r.count)}}
}

// apply maps the tree of mounts to the range, each mount in it. It runs in contain's
// namespaces; a process of its own makes the user namespace that says how, for a
// moment.
func (r idRange) apply(tree *os.File) error {
	if !r.wanted {
		return nil
	}
	keeper := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"contain-keeper"}, Env: []string{}, Dir: "/"}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(r.first), Size: int(r.count)}}
	keeper.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL,
	}
	hold, err := keeper.StdinPipe()
	if err != nil {
		return fmt.Errorf("-userns: pipe: %w", err)
	}
	defer hold.Close()
	if err := keeper.Start(); err != nil {
		return fmt.Errorf("-userns: make a user namespace: %w", reason(err))
	}
	defer func() {
		_ = keeper.Process.Kill()
		_ = keeper.Wait()
	}()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", keeper.Process.Pid))
	if err != nil {
		return fmt.Errorf("-userns: %w", err)
	}
	defer ns.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	err = unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
	switch {
	case errors.Is(err, unix.ENOSYS):
		return errors.New("-userns: this kernel has no id-mapped mounts (Linux 5.12)")
	case errors.Is(err, unix.EINVAL):
		return errors.New("-userns: the file system of DIR, or one mounted in it, cannot be mounted with other ids on this kernel")
	case err != nil:
		return fmt.Errorf("-userns: mount_setattr: %w", err)
	}
	return nil
}
