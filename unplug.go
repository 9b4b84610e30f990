// The end of a program's network: what TCP still has to deliver, and the host end of
// the veth, which would stay as long as somebody holds the network namespace.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// unplug takes the program off its segment, when it has ended, and has its interface
// go. A connection keeps the netns, which would answer for the address, and up to the
// memory limit in its buffers: what it has to deliver gets a moment, but not if a limit
// has ended the program, and then it is aborted. Without any the interface goes with the
// netns, some milliseconds later, unless somebody else holds that, to whom the program
// has passed a descriptor of it. (To remove it takes 18 ms.)
func (c *container) unplug() {
	if c.netns == nil {
		return
	}
	id, err := netlink.GetNetNsIdByFd(int(*c.netns))
	if err != nil {
		id = -1
	}
	h, link := c.plug()
	remain := c.deliver()
	closeAll(c.counters)
	c.netns.Close()
	if link == nil {
		return
	}
	defer h.Close()
	if !remain {
		_ = h.LinkSetDown(link)
		remain = c.hostEnd != 0 && c.netnsIsHeld(id)
	}
	if remain {
		_ = h.LinkDel(link) // else it is gone already
	}
}

// plug is what ties the program to its segment: the veth's host end, or the macvlan or
// ipvlan in its netns. Nil: nothing.
func (c *container) plug() (*netlink.Handle, netlink.Link) {
	attrs := netlink.NewLinkAttrs()
	attrs.Index = c.hostEnd
	if c.hostEnd != 0 {
		return &netlink.Handle{}, &netlink.Veth{LinkAttrs: attrs}
	}
	h, err := netlink.NewHandleAt(*c.netns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, nil
	}
	link, err := h.LinkByName(c.network.name)
	if err != nil {
		h.Close()
		return nil, nil
	}
	return h, link
}

// netnsIsHeld tells whether the netns lives on, though contain has closed it. Of a
// program that was short it cannot be told soon.
func (c *container) netnsIsHeld(id int) bool {
	if c.endedAt.Sub(c.startedAt) < netnsSettles {
		return false
	}
	for began := time.Now(); netnsLives(id); time.Sleep(netnsDies) {
		if time.Since(began) > netnsIsHeld {
			return true
		}
	}
	return false
}

// netnsLives tells whether there is a netns with that number, which contain's own has
// given it. That asks for no lock, as a look for the interface does, which cleanup holds.
// (Another netns may have got the number since: then the wait is in vain.)
func netnsLives(id int) bool {
	if id < 0 {
		return false
	}
	request := nl.NewNetlinkRequest(unix.RTM_GETNSID, 0)
	request.AddData(nl.NewRtGenMsg())
	request.AddData(nl.NewRtAttr(netlink.NETNSA_NSID, nl.Uint32Attr(uint32(id))))
	_, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	return err == nil
}

// The files that openCounters opens.
const (
	traffic = iota
	tcpSockets
	tcpSockets6
)

// openCounters opens what counts in a process's netns. A netlink socket would keep the
// netns for an RCU grace period after its end, 10 ms. One that is not there is nil.
func openCounters(pid int) (files []*os.File) {
	for _, name := range []string{traffic: "dev", tcpSockets: "sockstat", tcpSockets6: "sockstat6"} {
		f, _ := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		files = append(files, f)
	}
	return files
}

// count reads one of them.
func (c *container) count(which int) (text string, err error) {
	b := make([]byte, 1<<16)
	n, err := c.counters[which].ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(b[:n]), err
}

// networkUse reads what has passed the program's interface, which lives as long as the
// netns that contain holds. Nil: there is none.
func (c *container) networkUse() *netUse {
	if c.netns == nil {
		return nil
	}
	text, _ := c.count(traffic)
	for line := range strings.Lines(text) {
		name, counts, _ := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(counts)
		if name != c.network.name || len(f) < 10 {
			continue
		}
		var u netUse
		for i, to := range map[int]*uint64{0: &u.ReceivedBytes, 1: &u.ReceivedPackets, 8: &u.SentBytes, 9: &u.SentPackets} {
			*to, _ = strconv.ParseUint(f[i], 10, 64)
		}
		return &u
	}
	return nil
}

// tcpInUse tells whether /proc/net/sockstat and sockstat6, read one after the other,
// count any; also, if they do not say.
func tcpInUse(counts string) bool {
	told := false
	for line := range strings.Lines(counts) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "TCP:" && f[0] != "TCP6:" || f[1] != "inuse" {
			continue
		}
		if f[2] != "0" {
			return true
		}
		told = true
	}
	return !told
}

// deliver ends the connections, and tells whether there were any.
func (c *container) deliver() bool {
	four, err := c.count(tcpSockets)
	six, _ := c.count(tcpSockets6)
	if err == nil && !tcpInUse(four+six) {
		return false
	}
	s, err := newSockets(*c.netns)
	if err != nil {
		time.Sleep(sentIsLate) // this kernel does not tell (CONFIG_INET_DIAG)
		return true
	}
	defer s.Close()
	if c.cutOff || s.awaitDelivery() {
		s.abort()
	}
	return true
}

// sockets are the TCP sockets of a netns, by way of sock_diag(7).
type sockets struct{ *nl.NetlinkSocket }

func newSockets(ns netns.NsHandle) (sockets, error) {
	s, err := nl.GetNetlinkSocketAt(ns, netns.None(), unix.NETLINK_INET_DIAG)
	return sockets{s}, err
}

// awaitDelivery waits until no socket has anything to deliver, but not long. It
// tells whether there are sockets at all.
func (s sockets) awaitDelivery() bool {
	for began := time.Now(); ; time.Sleep(sentArrives) {
		some, unfinished := connections(s.list)
		if !unfinished || time.Since(began) > sentIsLate {
			return some
		}
	}
}

// connections tells whether there are TCP sockets, and whether one of a process that
// has ended waits for its last acknowledgement. Both may be where the kernel does not
// tell.
func connections(list func(family byte) ([][]byte, error)) (some, unfinished bool) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		found, err := list(family)
		if err != nil {
			return true, true
		}
		some = some || len(found) > 0
		for _, one := range found {
			switch one[1] { // idiag_state
			case netlink.TCP_FIN_WAIT1, netlink.TCP_CLOSING, netlink.TCP_LAST_ACK:
				unfinished = true
			}
		}
	}
	return some, unfinished
}

// abort closes all of them. What cannot be closed ends by itself, some minutes later:
// where CONFIG_INET_DIAG_DESTROY is not set, and before Linux 6.11, which took all timers
// from a socket that no process has, and so kept it for ever (tcp_abort in
// net/ipv4/tcp.c).
func (s sockets) abort() {
	if !linuxSince(6, 11) {
		return
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		list, _ := s.list(family)
		for _, one := range list {
			_, _ = s.ask(nl.SOCK_DESTROY, unix.NLM_F_ACK, family, one[4:52])
		}
	}
}

// list returns a struct inet_diag_msg for each socket.
func (s sockets) list(family byte) ([][]byte, error) {
	return unchanged(func() ([][]byte, error) {
		return s.ask(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, family, make([]byte, 48))
	})
}

// ask sends a struct inet_diag_req_v2; id is a struct inet_diag_sockid.
func (s sockets) ask(what, flags int, family byte, id []byte) (replies [][]byte, err error) {
	request := nl.NewNetlinkRequest(what, flags)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: s.NetlinkSocket}}
	request.AddRawData([]byte{family, unix.IPPROTO_TCP, 0, 0, 0xff, 0xff, 0xff, 0xff}) // in any state
	request.AddRawData(id)
	return request.Execute(unix.NETLINK_INET_DIAG, 0)
}

// linuxSince tells whether the kernel is of that version or a later one.
func linuxSince(major, minor int) bool {
	var name unix.Utsname
	var a, b int
	if unix.Uname(&name) != nil {
		return false
	}
	n, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &a, &b)
	return n == 2 && err == nil && (a > major || a == major && b >= minor)
}
