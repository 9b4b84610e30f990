// The bandwidth of the program's network: a token bucket filter, tc-tbf(8), at each
// end of the veth, for what leaves there. The program cannot change its own, for
// want of CAP_NET_ADMIN, nor pass it by (PACKET_QDISC_BYPASS): the system call filter
// refuses packet sockets (knownSockets).

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bandwidth is in bits a second, to and from the program. 0 is no limit.
type bandwidth struct {
	Down, Up uint64
}

// parseBandwidth reads RATE for both directions, or RATE/down, RATE/up, or both
// with a colon between them.
func parseBandwidth(s string) (b bandwidth, err error) {
	parts := strings.Split(s, ":")
	for _, part := range parts {
		text, direction, directed := strings.Cut(part, "/")
		rate, err := parseRate(text)
		switch {
		case err != nil:
			return b, err
		case !directed && len(parts) == 1:
			return bandwidth{rate, rate}, nil
		case direction == "down" && b.Down == 0:
			b.Down = rate
		case direction == "up" && b.Up == 0:
			b.Up = rate
		default:
			return b, errors.New("not a rate, or RATE/down:RATE/up")
		}
	}
	return b, nil
}

// parseRate reads a rate such as 10mbit, with tc(8)'s decimal units.
func parseRate(s string) (uint64, error) {
	number, unit := cutNumber(s)
	factor, known := map[string]float64{"bit": 1, "kbit": 1e3, "Kbit": 1e3, "mbit": 1e6, "Mbit": 1e6, "gbit": 1e9, "Gbit": 1e9}[unit]
	if number == "" || !known {
		return 0, errors.New("not a rate, such as 10mbit (units: bit, kbit, mbit, gbit)")
	}
	n, err := parseNumber(number, "a rate")
	n *= factor
	switch {
	case err != nil || n > 1e12:
		return 0, errors.New("too large, the most is 1000gbit")
	case n < 8000:
		return 0, errors.New("too small, the least is 8kbit")
	}
	return uint64(n), nil
}

// shape limits what leaves through an interface with the given MTU to rate. That
// counts IP packets: tbf counts their Ethernet header too, so for full ones it is
// given a little more.
//
// The bucket holds ten milliseconds' worth, but two packets at least: that is how
// much can be sent in excess, once, and how late a timer may be. The queue holds 25
// milliseconds' worth, but at lower rates up to 150, and 64 kB at least: where TCP
// begins with more than fits it may lose so much that it waits for 200 ms.
func shape(h *netlink.Handle, index, mtu int, rate uint64) error {
	const header, tick = 14, 64 // a tick of the packet scheduler is 64 ns (PSCHED_SHIFT)
	frame := uint64(mtu + header)
	bytes := max(rate*frame/uint64(mtu)/8, 1)
	bucket := max(bytes/100, 2*frame)
	qdisc := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       bytes,
		Buffer:     uint32(min(bucket*1_000_000_000/bytes/tick, 1<<32-1)),
		Limit:      uint32(min(bucket+max(bytes/40, min(bytes*15/100, 192<<10), 64<<10), 1<<31)),
	}
	err := h.QdiscAdd(qdisc)
	if errors.Is(err, unix.ENOENT) {
		return errors.New("this kernel has no token bucket filter (CONFIG_NET_SCH_TBF)")
	}
	return err
}

// limit shapes both ends of a veth: that on the host by its name.
func (b bandwidth) limit(host string, ns *netlink.Handle, index int, n network) error {
	if b.Up != 0 {
		if err := shape(ns, index, n.mtu, b.Up); err != nil {
			return fmt.Errorf("limit the bandwidth of %s: %w", n.name, err)
		}
	}
	if b.Down == 0 {
		return nil
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(host)
	if err == nil {
		err = shape(h, link.Attrs().Index, n.mtu, b.Down)
	}
	if err != nil {
		return fmt.Errorf("limit the bandwidth of %s: %w", host, err)
	}
	return nil
}
