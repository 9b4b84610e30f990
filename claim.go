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
// netns. Of two that want one at the same time, one gets it. Its undo is release.
func claimAddresses(stateDir string, index int, addresses []netip.Prefix) (*claim, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, err
	}
	var netns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &netns); err != nil {
		return nil, fmt.Errorf("find the network namespace: %w", err)
	}
	c, err := openClaims(filepath.Join(stateDir, claimsName))
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
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

// release gives up everything, and removes the file if nobody else uses it.
func (c *claim) release() {
	if c == nil {
		return
	}
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

// claimOffset is where the lock of an address on a segment lies: never 0.
func claimOffset(netns uint64, index int, a netip.Addr) int64 {
	h := fnv.New64a()
	bytes := a.As16()
	_ = binary.Write(h, binary.NativeEndian, netns)
	_ = binary.Write(h, binary.NativeEndian, int64(index))
	h.Write(bytes[:])
	return int64(h.Sum64()>>2) + 1
}

// reserve takes the program's addresses, so that no other contain does, and asks the
// segment who has them.
func (h host) reserve(opts options) (*claim, *question, error) {
	if len(opts.address) == 0 {
		return nil, nil, nil
	}
	c, err := claimAddresses(opts.stateDir, h.bridge.index, opts.address)
	if err != nil {
		return nil, nil, err
	}
	var q *question
	if opts.ask {
		q = newQuestion(h.bridge.index, h.bridge.mac, opts.address)
	}
	return c, q, nil
}

// question asks a segment who has some addresses.
type question struct {
	index     int
	mac       net.HardwareAddr
	addresses []netip.Prefix
	sockets   map[bool]int // packet sockets: of ARP (true), of IPv6
}

// newQuestion asks, from an interface of contain's netns with the hardware address
// mac. Its undo is close. Where it cannot ask, it asks nobody.
func newQuestion(index int, mac net.HardwareAddr, addresses []netip.Prefix) *question {
	q := &question{index: index, mac: mac, addresses: addresses, sockets: map[bool]int{}}
	for _, a := range addresses {
		is4 := a.Addr().Is4()
		if _, open := q.sockets[is4]; open {
			continue
		}
		protocol := map[bool]uint16{true: unix.ETH_P_ARP, false: unix.ETH_P_IPV6}[is4]
		if fd, err := packetSocket(index, protocol); err == nil {
			q.sockets[is4] = fd
		}
	}
	q.ask()
	return q
}

func (q *question) ask() {
	for _, a := range q.addresses {
		fd, open := q.sockets[a.Addr().Is4()]
		switch {
		case !open:
		case a.Addr().Is4():
			_ = unix.Send(fd, arpProbe(q.mac, a.Addr()), unix.MSG_DONTWAIT)
		default:
			_ = unix.Send(fd, neighbourSolicitation(q.mac, a.Addr()), unix.MSG_DONTWAIT)
		}
	}
}

func packetSocket(index int, protocol uint16) (int, error) {
	network := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, protocol))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(network))
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network, Ifindex: index}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (q *question) close() {
	if q == nil {
		return
	}
	for _, fd := range q.sockets {
		unix.Close(fd)
	}
	clear(q.sockets)
}

// check reports an address that somebody says to have. If nobody does, it does not
// wait. Else it asks again for a while: the netns of a program that has just ended
// lives on for some milliseconds, and answers.
func (q *question) check() error {
	if q == nil {
		return nil
	}
	for began := time.Now(); ; q.ask() {
		address, owner := q.answer()
		switch {
		case owner == nil:
			return nil
		case time.Since(began) > netnsEnds:
			return fmt.Errorf("-network-address %s: is in use by a neighbour with the hardware address %s", quoted(address.String()), owner)
		}
		time.Sleep(neighbourAnswers)
	}
}

// answer returns one of the addresses, if somebody has said to have it, and who. It
// does not wait.
func (q *question) answer() (address netip.Prefix, owner net.HardwareAddr) {
	frame := make([]byte, 1514)
	for _, fd := range q.sockets {
		for {
			n, err := unix.Read(fd, frame)
			if err != nil {
				break
			}
			who, claim, ok := claimed(frame[:n])
			for _, a := range q.addresses {
				if ok && a.Addr() == claim && !isContained(who) {
					address, owner = a, who
				}
			}
		}
	}
	return address, owner
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

const ethernetHeader = 14

// arpProbe is an ARP request for a, without an address of the sender's own, so that
// nobody learns one (RFC 5227).
func arpProbe(mac net.HardwareAddr, a netip.Addr) []byte {
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	for _, field := range []uint16{1, unix.ETH_P_IP, 6<<8 | 4, 1} { // Ethernet, IPv4, lengths, request
		frame = binary.BigEndian.AppendUint16(frame, field)
	}
	frame = append(append(frame, mac...), make([]byte, 4+6)...)
	return append(frame, a.AsSlice()...)
}

// neighbourSolicitation is what a host that wants the address a sends to find whether
// it is free (RFC 4862).
func neighbourSolicitation(mac net.HardwareAddr, a netip.Addr) []byte {
	target := a.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], target[13:])
	const icmp6, length = 58, 24
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target[:]...)
	pseudo := append(make([]byte, 16), group[:]...)
	pseudo = append(append(pseudo, 0, 0, 0, length, 0, 0, 0, icmp6), message...)
	binary.BigEndian.PutUint16(message[2:], checksum(pseudo))
	frame := append([]byte{0x33, 0x33}, group[12:]...)
	frame = binary.BigEndian.AppendUint16(append(frame, mac...), unix.ETH_P_IPV6)
	frame = append(frame, 0x60, 0, 0, 0, 0, length, icmp6, 255)
	frame = append(append(frame, make([]byte, 16)...), group[:]...)
	return append(frame, message...)
}

// checksum is that of RFC 1071.
func checksum(data []byte) uint16 {
	var sum uint32
	for ; len(data) >= 2; data = data[2:] {
		sum += uint32(binary.BigEndian.Uint16(data))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// claimed reads a frame in which somebody says that he has an address: an ARP message
// from it, or a neighbour advertisement.
func claimed(frame []byte) (owner net.HardwareAddr, a netip.Addr, ok bool) {
	if len(frame) < ethernetHeader {
		return nil, a, false
	}
	owner, body := slices.Clone(net.HardwareAddr(frame[6:12])), frame[ethernetHeader:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		if len(body) < 28 {
			return nil, a, false
		}
		return slices.Clone(net.HardwareAddr(body[8:14])), netip.AddrFrom4([4]byte(body[14:18])), true
	case unix.ETH_P_IPV6:
		const advertisement = 136
		if len(body) < 64 || body[6] != 58 || body[40] != advertisement {
			return nil, a, false
		}
		return owner, netip.AddrFrom16([16]byte(body[48:64])), true
	}
	return nil, a, false
}
