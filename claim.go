// Who has an address: no two programs may have one, and none that of a neighbour.
//
// Among contain's own it is settled by record locks, fcntl_locking(2), in one file of
// the state directory: one for each address, held for life. The kernel knows the
// holder, and releases them with its process, so that SIGKILL leaves none behind.
// Others on the segment are asked by an ordinary request from an address of this host,
// which the kernel's table of neighbours sends: no probe from 0.0.0.0 or :: (RFC 5227,
// RFC 4862). What they answer while the container is being made counts, and nothing
// waits for it.

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// claim is what a run has reserved.
type claim struct{ file *os.File }

// claimsName is a file in the state directory, which is there while a program has
// an address. It is empty: only its locks matter.
const claimsName = "addresses"

// claimAddresses reserves addresses on the segment behind an interface of contain's
// netns, by locks in dir. Of two that want one at the same time, one gets it. Its undo is release.
func claimAddresses(dir string, index int, addresses []netip.Prefix) (*claim, error) {
	c, err := openClaims(filepath.Join(dir, claimsName))
	if err != nil {
		return nil, err
	}
	// In one order, or two that want the same could each have half of them.
	inOrder := slices.SortedFunc(slices.Values(addresses), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for _, a := range inOrder {
		bytes := a.Addr().As16()
		if err := c.lock(index, bytes[:]); err != nil {
			c.release()
			return nil, fmt.Errorf("-network-address %s: %w", quoted(a.String()), err)
		}
	}
	return c, nil
}

// hardware reserves a hardware address on the segment. Programs without one of the
// user's choice have that of their host end's name.
func (c *claim) hardware(index int, mac net.HardwareAddr) error {
	err := c.lock(index, mac)
	if err == nil && isContained(mac, index) {
		err = errTaken
	}
	if err != nil {
		return fmt.Errorf("-network-mac %s: %w", quoted(mac.String()), err)
	}
	return nil
}

// lock takes the lock of an address.
func (c *claim) lock(index int, address []byte) error {
	var netns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &netns); err != nil {
		return fmt.Errorf("find the network namespace: %w", err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: claimOffset(netns.Ino, index, address), Len: 1}
	err := unix.FcntlFlock(c.file.Fd(), unix.F_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = c.takenBy(lock)
	}
	return err
}

// openClaims opens the file, and holds a read lock on its first byte, so that release
// of another does not remove it.
func openClaims(path string) (*claim, error) {
	const tries = 1000
	for range tries {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		lock := unix.Flock_t{Type: unix.F_RDLCK, Len: 1}
		if err := unix.FcntlFlock(file.Fd(), unix.F_SETLKW, &lock); err != nil {
			(&claim{file}).release()
			return nil, fmt.Errorf("lock %s: %w", quoted(path), err)
		}
		opened, err1 := file.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(opened, there) {
			return &claim{file}, nil
		}
		file.Close() // it was removed meanwhile
	}
	return nil, fmt.Errorf("lock %s: it does not stay", quoted(path))
}

// release gives up everything, and removes the file if nobody else uses it. Of two at
// a time one waits for the other, or both would find that somebody else does.
func (c *claim) release() {
	if c == nil {
		return
	}
	one := unix.Flock_t{Type: unix.F_WRLCK, Start: 1, Len: 1}
	_ = unix.FcntlFlock(c.file.Fd(), unix.F_SETLKW, &one)
	c.remove()
	c.file.Close()
}

// removeUnused removes a file of locks that nobody uses, and tells whether it did. It does
// not wait. It must not be called by a process that has a claim there: to close the file
// gives that up.
func removeUnused(path string) bool {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return (&claim{file}).remove()
}

// remove removes the file if nobody else uses it, and it is still the one with that name.
func (c *claim) remove() bool {
	all := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(c.file.Fd(), unix.F_SETLK, &all) != nil {
		return false
	}
	opened, err1 := c.file.Stat()
	there, err2 := os.Lstat(c.file.Name())
	return err1 == nil && err2 == nil && os.SameFile(opened, there) && os.Remove(c.file.Name()) == nil
}

// takenBy says who holds a lock.
func (c *claim) takenBy(lock unix.Flock_t) error {
	if err := unix.FcntlFlock(c.file.Fd(), unix.F_GETLK, &lock); err == nil && lock.Type != unix.F_UNLCK && lock.Pid > 0 {
		return fmt.Errorf("%w, process %d", errTaken, lock.Pid)
	}
	return errTaken
}

var errTaken = errors.New("is in use by another contain")

// claimOffset is where the lock of an address on a segment lies: never 0 or 1.
func claimOffset(netns uint64, index int, address []byte) int64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.NativeEndian, netns)
	_ = binary.Write(h, binary.NativeEndian, int64(index))
	h.Write(address)
	return int64(h.Sum64()>>2) + 2
}

// reserve takes the program's addresses, so that no other contain does, and asks the
// segment who has them.
func (h host) reserve(opts options) (*claim, *question, error) {
	if len(opts.address) == 0 {
		return nil, nil, nil
	}
	dir, err := claimsDir(defaultStateDir, opts.stateDir)
	if err != nil {
		return nil, nil, err
	}
	c, err := claimAddresses(dir, h.bridge.index, opts.address)
	if err == nil && opts.mac != nil {
		err = c.hardware(h.bridge.index, opts.mac)
	}
	if err != nil {
		c.release()
		return nil, nil, err
	}
	if !opts.ask {
		return c, nil, nil
	}
	q, err := newQuestion(h.bridge.index, opts.network)
	if err != nil {
		c.release()
		return nil, nil, err
	}
	return c, q, nil
}

// claimsDir makes the place of the locks: one for all, whatever their state directories,
// or, where contain cannot write there, or others can, its own.
func claimsDir(common, own string) (string, error) {
	var err error
	for _, dir := range []string{common, own} {
		if _, err = makeStateDir(dir); err == nil {
			err = unix.Access(dir, unix.W_OK) // a read-only file system
		}
		if err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("-state-dir %s: %w", quoted(own), err)
}

// neighbours is the kernel's table of neighbours: a netlink.Handle, or a test's.
type neighbours interface {
	NeighList(index, family int) ([]netlink.Neigh, error)
	NeighSet(*netlink.Neigh) error
	NeighDel(*netlink.Neigh) error
}

// question asks a segment who has some addresses, by way of the kernel's table of
// neighbours. (A packet socket would do it too, but to close one waits for an RCU
// grace period, 10 ms.)
type question struct {
	index     int // of an interface of contain's netns
	addresses []netip.Prefix
	own       net.HardwareAddr // of the program, if given
	table     neighbours
	made      map[netip.Addr]bool // whose entries close removes
	asked     time.Time           // first
}

// newQuestion asks. Its undo is close.
func newQuestion(index int, n network) (*question, error) {
	q := &question{index: index, addresses: n.address, own: n.mac, table: &netlink.Handle{}, made: map[netip.Addr]bool{}, asked: time.Now()}
	if err := q.ask(); err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

// ask has the kernel forget what it knows and ask anew, but for what others than the
// kernel have put into its table. Where it cannot, it asks nobody.
func (q *question) ask() error {
	known, err := q.entries()
	if err != nil {
		return err
	}
	for _, a := range q.addresses {
		if slices.ContainsFunc(known, func(e netlink.Neigh) bool { return addressOf(e) == a.Addr() && isKept(e) }) {
			continue
		}
		entry := q.entry(a.Addr())
		_ = q.table.NeighDel(entry)
		entry.Flags = netlink.NTF_USE
		switch err := q.table.NeighSet(entry); {
		case err == nil:
			q.made[a.Addr()] = true
		case errors.Is(err, unix.ENOBUFS):
			return withHint(fmt.Errorf("-network-address %s: ask who has it: the kernel's table of neighbours is full", quoted(a.String())),
				"its size is net.ipv4.neigh.default.gc_thresh3, or ipv6; -check-address=false does not ask")
		case !cannotAsk(err):
			return fmt.Errorf("-network-address %s: ask who has it: %w", quoted(a.String()), err)
		}
	}
	return nil
}

// cannotAsk tells whether an interface has no neighbours of a family at all.
func cannotAsk(err error) bool {
	return slices.ContainsFunc([]error{unix.EINVAL, unix.ENODEV, unix.ENETDOWN, unix.EAFNOSUPPORT}, func(e error) bool { return errors.Is(err, e) })
}

// isKept tells whether an entry is not for contain to touch: the administrator's, or of
// a program that has learned it.
func isKept(e netlink.Neigh) bool {
	return e.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 || e.Flags&netlink.NTF_EXT_LEARNED != 0
}

// entries lists the table. What somebody else has made of an entry is theirs.
func (q *question) entries() ([]netlink.Neigh, error) {
	entries, err := unchanged(func() ([]netlink.Neigh, error) { return q.table.NeighList(q.index, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("read the table of neighbours: %w", err)
	}
	for _, e := range entries {
		if e.State&netlink.NUD_PERMANENT != 0 || e.Flags&netlink.NTF_EXT_LEARNED != 0 {
			delete(q.made, addressOf(e))
		}
	}
	return entries, nil
}

func (q *question) entry(a netip.Addr) *netlink.Neigh {
	family := map[bool]int{true: netlink.FAMILY_V4, false: netlink.FAMILY_V6}[a.Is4()]
	return &netlink.Neigh{LinkIndex: q.index, Family: family, IP: a.AsSlice()}
}

// addressOf returns the address of an entry.
func addressOf(e netlink.Neigh) netip.Addr {
	ip, _ := netip.AddrFromSlice(e.IP)
	return ip.Unmap()
}

// close removes the entries that ask has made.
func (q *question) close() {
	if q == nil {
		return
	}
	for a := range q.made {
		_ = q.table.NeighDel(q.entry(a))
	}
	clear(q.made)
}

// check reports an address that somebody says to have. If nobody does, it does not
// wait. Else it asks again for a while: the netns of a program that has just ended
// lives on for some milliseconds, and answers. If it returns a signal, that came
// meanwhile, to end contain; soon waits signalArrives for one.
func (q *question) check(soon func() (unix.Signal, bool)) (unix.Signal, error) {
	if q == nil {
		return 0, nil
	}
	_, owner, err := q.answer()
	if err != nil || owner == nil {
		return 0, err
	}
	began := time.Now()
	// The next answer may take as long as the first.
	quiet := min(max(neighbourIsSilent, began.Sub(q.asked)), netnsEnds)
	for silent := time.Duration(0); silent < quiet; silent += signalArrives {
		if err := q.ask(); err != nil {
			return 0, err
		}
		if sig, ends := soon(); ends {
			return sig, nil
		}
		a, owner, err := q.answer()
		switch {
		case err != nil:
			return 0, err
		case owner != nil && time.Since(began) > netnsEnds:
			return 0, fmt.Errorf("-network-address %s: is in use by a neighbour with the hardware address %s", quoted(a.String()), owner)
		case owner != nil:
			silent = -signalArrives
		}
	}
	return 0, nil
}

// answer returns one of the addresses, if somebody has said to have it, and who.
func (q *question) answer() (address netip.Prefix, owner net.HardwareAddr, err error) {
	entries, err := q.entries()
	if err != nil {
		return address, nil, err
	}
	for _, e := range entries {
		for _, a := range q.addresses {
			if addressOf(e) == a.Addr() && q.isAnother(e) {
				return a, e.HardwareAddr, nil
			}
		}
	}
	return address, nil, nil
}

// isAnother tells whether an entry says that somebody has its address. An administrator
// may have pinned it to the program's own hardware address.
func (q *question) isAnother(e netlink.Neigh) bool {
	const answered = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE
	switch {
	case len(e.HardwareAddr) == 0 || isContained(e.HardwareAddr, q.index):
		return false
	case e.State&netlink.NUD_PERMANENT != 0 || e.State&netlink.NUD_NOARP != 0 && e.Flags&netlink.NTF_EXT_LEARNED != 0:
		return !bytes.Equal(e.HardwareAddr, q.own)
	}
	return e.State&answered != 0
}

// isContained tells whether a hardware address is that of a program of contain's on a
// bridge: of such the locks decide. Those on another one, with other locks, are
// neighbours if they can be heard here.
func isContained(mac net.HardwareAddr, bridge int) bool {
	if len(mac) != 6 || mac[0] != contMAC[0] || mac[1] != contMAC[1] {
		return false
	}
	link, err := netlink.LinkByName(hostVethOf(hex.EncodeToString(mac[2:])))
	return err == nil && link.Attrs().MasterIndex == bridge
}
