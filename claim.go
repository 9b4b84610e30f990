// Who has an address: no two programs may have one, and none that of a neighbour.
//
// Among contain's own it is settled by record locks, fcntl_locking(2), in one file of
// the state directory: one for each address, held for life. The kernel knows the
// holder, and releases them with its process, so that SIGKILL leaves none behind.
// Others on the segment are asked, as RFC 5227 and RFC 4862 have it; what they
// answer while the container is being made counts, and nothing waits for it.

package main

import (
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var netns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &netns); err != nil {
		return nil, fmt.Errorf("find the network namespace: %w", err)
	}
	c, err := openClaims(filepath.Join(dir, claimsName))
	if err != nil {
		return nil, err
	}
	// In one order, or two that want the same could each have half of them.
	inOrder := slices.SortedFunc(slices.Values(addresses), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for _, a := range inOrder {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: claimOffset(netns.Ino, index, a.Addr()), Len: 1}
		err := unix.FcntlFlock(c.file.Fd(), unix.F_SETLK, &lock)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = c.takenBy(lock)
		}
		if err != nil {
			c.release()
			return nil, fmt.Errorf("-network-address %s: %w", quoted(a.String()), err)
		}
	}
	return c, nil
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
			file.Close()
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
	all := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(c.file.Fd(), unix.F_SETLK, &all) == nil {
		_ = os.Remove(c.file.Name())
	}
	c.file.Close()
}

// takenBy says who holds a lock.
func (c *claim) takenBy(lock unix.Flock_t) error {
	if err := unix.FcntlFlock(c.file.Fd(), unix.F_GETLK, &lock); err == nil && lock.Type != unix.F_UNLCK && lock.Pid > 0 {
		return fmt.Errorf("is in use by another contain, process %d", lock.Pid)
	}
	return errors.New("is in use by another contain")
}

// claimOffset is where the lock of an address on a segment lies: never 0 or 1.
func claimOffset(netns uint64, index int, a netip.Addr) int64 {
	h := fnv.New64a()
	bytes := a.As16()
	_ = binary.Write(h, binary.NativeEndian, netns)
	_ = binary.Write(h, binary.NativeEndian, int64(index))
	h.Write(bytes[:])
	return int64(h.Sum64()>>2) + 2
}

// reserve takes the program's addresses, so that no other contain does, and asks the
// segment who has them.
func (h host) reserve(opts options) (*claim, *question, error) {
	if len(opts.address) == 0 {
		return nil, nil, nil
	}
	// One place for all, whatever their state directories.
	dir := defaultStateDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		dir = opts.stateDir
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("-state-dir %s: %w", quoted(dir), reason(err))
		}
	}
	c, err := claimAddresses(dir, h.bridge.index, opts.address)
	if err != nil {
		return nil, nil, err
	}
	var q *question
	if opts.ask {
		q = newQuestion(h.bridge.index, opts.address)
	}
	return c, q, nil
}

// question asks a segment who has some addresses, by way of the kernel's table of
// neighbours. (A packet socket would do it too, but to close one waits for an RCU
// grace period, 10 ms.)
type question struct {
	index     int // of an interface of contain's netns
	addresses []netip.Prefix
}

// newQuestion asks. Its undo is close.
func newQuestion(index int, addresses []netip.Prefix) *question {
	q := &question{index: index, addresses: addresses}
	q.ask()
	return q
}

// ask has the kernel forget what it knows and ask anew. Where it cannot, it asks
// nobody.
func (q *question) ask() {
	for _, a := range q.addresses {
		entry := q.entry(a)
		_ = netlink.NeighDel(entry)
		entry.Flags = netlink.NTF_USE
		_ = netlink.NeighSet(entry)
	}
}

func (q *question) entry(a netip.Prefix) *netlink.Neigh {
	family := map[bool]int{true: netlink.FAMILY_V4, false: netlink.FAMILY_V6}[a.Addr().Is4()]
	return &netlink.Neigh{LinkIndex: q.index, Family: family, IP: a.Addr().AsSlice()}
}

// close removes the entries.
func (q *question) close() {
	if q == nil {
		return
	}
	for _, a := range q.addresses {
		_ = netlink.NeighDel(q.entry(a))
	}
	q.addresses = nil
}

// check reports an address that somebody says to have. If nobody does, it does not
// wait. Else it asks again for a while: the netns of a program that has just ended
// lives on for some milliseconds, and answers.
func (q *question) check() error {
	if q == nil {
		return nil
	}
	_, owner := q.answer()
	for began, silent := time.Now(), 0; owner != nil; {
		q.ask()
		time.Sleep(neighbourAnswers)
		switch again, who := q.answer(); {
		case who != nil && time.Since(began) > netnsEnds:
			return fmt.Errorf("-network-address %s: is in use by a neighbour with the hardware address %s", quoted(again.String()), who)
		case who != nil:
			silent = 0
		case silent == 2:
			return nil
		default:
			silent++
		}
	}
	return nil
}

// answer returns one of the addresses, if somebody has said to have it, and who.
func (q *question) answer() (address netip.Prefix, owner net.HardwareAddr) {
	const answered = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE
	entries, err := unchanged(func() ([]netlink.Neigh, error) { return netlink.NeighList(q.index, netlink.FAMILY_ALL) })
	if err != nil {
		return address, nil
	}
	for _, e := range entries {
		ip, ok := netip.AddrFromSlice(e.IP)
		for _, a := range q.addresses {
			if ok && ip.Unmap() == a.Addr() && e.State&answered != 0 && !isContained(e.HardwareAddr) {
				return a, e.HardwareAddr
			}
		}
	}
	return address, nil
}

// isContained tells whether a hardware address is that of a program of contain's on
// this host: of such the locks decide.
func isContained(mac net.HardwareAddr) bool {
	if len(mac) != 6 || mac[0] != contMAC[0] || mac[1] != contMAC[1] {
		return false
	}
	_, err := netlink.LinkByName(hostVethOf(hex.EncodeToString(mac[2:])))
	return err == nil
}
