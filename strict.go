// -network-strict: a filter at the host end of the veth, through which only what is
// the program's own leaves: its hardware address, its addresses, no routers' or DHCP
// servers' messages. So no program can take an address of a neighbour's, redirect
// others, or fill the bridge's table.
//
// It is a BPF program on the ingress of the host end, tc-bpf(8), in the instructions
// that read a packet's bytes (LD_ABS, LD_IND). Those end the program with "pass" at
// the end of a packet: one that is too short to be read is too short for its receiver.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	memlock "github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Offsets in a frame, and what is found there.
const (
	offSource    = 6 // hardware address of the sender
	offEtherType = 12
	offBody      = 14

	protoTCP, protoUDP, protoICMP6        = 6, 17, 58
	extHopByHop, extFragment              = 0, 44
	routerAdvertisement, redirect         = 134, 137
	advertisement                         = 136 // of a neighbour
	listenerQuery, listenerReport2        = 130, 143
	listenerReport1, listenerDone         = 131, 132
	portDHCPServer, portDHCP6Server       = 67, 547
	tcPass, tcDrop                  int32 = 0, 2 // TC_ACT_OK, TC_ACT_SHOT
)

// guard guards the host end, by its index in contain's netns. It goes with that.
func (n network) guard(index int) error {
	_ = memlock.RemoveMemlock() // needed before Linux 5.11; where it is, the load fails without
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "contain_strict", Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: n.filter(),
	})
	if err != nil {
		return fmt.Errorf("-network-strict: load the filter: %w", err)
	}
	defer prog.Close()
	qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	err = netlink.QdiscAdd(qdisc)
	if err == nil {
		err = netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
			Fd:          prog.FD(), Name: "contain_strict", DirectAction: true,
		})
	}
	if errors.Is(err, unix.ENOENT) {
		err = errors.New("this kernel lacks CONFIG_NET_SCH_INGRESS or CONFIG_NET_CLS_BPF")
	}
	if err != nil {
		return fmt.Errorf("-network-strict: attach the filter: %w", err)
	}
	return nil
}

// filter is the program. R6 is the packet, R0 what was read last.
func (n network) filter() asm.Instructions {
	mac := append(make([]byte, 2), n.mac...)
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadAbs(offSource, asm.Half),
		asm.JNE.Imm(asm.R0, int32(binary.BigEndian.Uint16(mac[2:])), "drop"),
		asm.LoadAbs(offSource+2, asm.Word),
		asm.JNE.Imm32(asm.R0, int32(binary.BigEndian.Uint32(mac[4:])), "drop"),
		asm.LoadAbs(offEtherType, asm.Half),
		asm.JEq.Imm(asm.R0, unix.ETH_P_ARP, "arp"),
		asm.JEq.Imm(asm.R0, unix.ETH_P_IP, "ip4"),
		asm.JEq.Imm(asm.R0, unix.ETH_P_IPV6, "ip6"),
		asm.Ja.Label("drop"),
	}
	p = append(p, n.arp()...)
	p = append(p, n.ip4()...)
	p = append(p, n.ip6()...)
	return append(p,
		asm.Mov.Imm(asm.R0, tcPass).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcDrop).WithSymbol("drop"),
		asm.Return(),
	)
}

// arp lets through what comes from the program's hardware address and one of its
// addresses.
func (n network) arp() asm.Instructions {
	const senderMAC, senderIP = offBody + 8, offBody + 14
	if !n.has(true) {
		return asm.Instructions{asm.Ja.Label("drop").WithSymbol("arp")}
	}
	p := asm.Instructions{
		asm.LoadAbs(senderMAC, asm.Half).WithSymbol("arp"),
		asm.JNE.Imm(asm.R0, int32(binary.BigEndian.Uint16(n.mac)), "drop"),
		asm.LoadAbs(senderMAC+2, asm.Word),
		asm.JNE.Imm32(asm.R0, int32(binary.BigEndian.Uint32(n.mac[2:])), "drop"),
	}
	p = append(p, n.ownAddress(senderIP, true, "pass")...)
	return append(p, asm.Ja.Label("drop"))
}

// ip4 lets through what comes from one of the program's addresses, but for a DHCP
// server's messages.
func (n network) ip4() asm.Instructions {
	if !n.has(true) {
		return asm.Instructions{asm.Ja.Label("drop").WithSymbol("ip4")}
	}
	p := asm.Instructions{asm.Mov.Imm(asm.R7, 0).WithSymbol("ip4")}
	p = append(p, n.ownAddress(offBody+12, true, "own4")...)
	return append(p,
		asm.Ja.Label("drop"),
		asm.LoadAbs(offBody+9, asm.Byte).WithSymbol("own4"),
		asm.JNE.Imm(asm.R0, protoUDP, "pass"),
		asm.LoadAbs(offBody+6, asm.Half),
		asm.And.Imm(asm.R0, 0x1fff), // a later fragment has no port
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadAbs(offBody, asm.Byte),
		asm.And.Imm(asm.R0, 0xf),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.LoadInd(asm.R0, asm.R7, offBody, asm.Half),
		asm.JEq.Imm(asm.R0, portDHCPServer, "drop"),
		asm.Ja.Label("pass"),
	)
}

// ip6 does the same, and drops routers' messages and others' advertisements. Headers
// behind which these could hide are dropped too, but for multicast listeners'.
func (n network) ip6() asm.Instructions {
	const next, payload = offBody + 6, offBody + 40
	if !n.has(false) {
		return asm.Instructions{asm.Ja.Label("drop").WithSymbol("ip6")}
	}
	p := asm.Instructions{asm.Mov.Imm(asm.R7, 0).WithSymbol("ip6")}
	p = append(p, n.ownAddress(offBody+8, false, "own6")...)
	for at := int32(0); at < 16; at += 4 { // without an address only listeners' reports
		p = append(p, asm.LoadAbs(offBody+8+at, asm.Word), asm.JNE.Imm(asm.R0, 0, "drop"))
	}
	p = append(p,
		asm.LoadAbs(next, asm.Byte),
		asm.JEq.Imm(asm.R0, extHopByHop, "listener"),
		asm.Ja.Label("drop"),
		asm.LoadAbs(next, asm.Byte).WithSymbol("own6"),
		asm.JEq.Imm(asm.R0, protoTCP, "pass"),
		asm.JEq.Imm(asm.R0, protoUDP, "udp6"),
		asm.JEq.Imm(asm.R0, protoICMP6, "icmp6"),
		asm.JEq.Imm(asm.R0, extHopByHop, "listener"),
		asm.JNE.Imm(asm.R0, extFragment, "drop"),
		asm.LoadAbs(payload, asm.Byte),
		asm.JEq.Imm(asm.R0, protoTCP, "pass"),
		asm.JNE.Imm(asm.R0, protoUDP, "drop"),
		asm.LoadAbs(payload+2, asm.Half),
		asm.And.Imm(asm.R0, 0xfff8),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadAbs(payload+8, asm.Half),
		asm.JEq.Imm(asm.R0, portDHCP6Server, "drop"),
		asm.Ja.Label("pass"),

		asm.LoadAbs(payload, asm.Half).WithSymbol("udp6"),
		asm.JEq.Imm(asm.R0, portDHCP6Server, "drop"),
		asm.Ja.Label("pass"),

		asm.LoadAbs(payload, asm.Byte).WithSymbol("icmp6"),
		asm.JEq.Imm(asm.R0, routerAdvertisement, "drop"),
		asm.JEq.Imm(asm.R0, redirect, "drop"),
		asm.JEq.Imm(asm.R0, listenerQuery, "drop"),
		asm.JNE.Imm(asm.R0, advertisement, "pass"),
	)
	p = append(p, n.ownAddress(payload+8, false, "pass")...)
	return append(p,
		asm.Ja.Label("drop"),
		asm.LoadAbs(payload, asm.Byte).WithSymbol("listener"),
		asm.JNE.Imm(asm.R0, protoICMP6, "drop"),
		asm.LoadAbs(payload+1, asm.Byte), // of eight bytes
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.LoadAbs(payload+8, asm.Byte),
		asm.JEq.Imm(asm.R0, listenerReport1, "pass"),
		asm.JEq.Imm(asm.R0, listenerDone, "pass"),
		asm.JEq.Imm(asm.R0, listenerReport2, "pass"),
		asm.Ja.Label("drop"),
	)
}

// has tells whether the program has an address of that family.
func (n network) has(is4 bool) bool {
	return slices.ContainsFunc(n.address, func(a netip.Prefix) bool { return a.Addr().Is4() == is4 })
}

// ownAddress goes to label if one of the program's addresses is at offset.
func (n network) ownAddress(offset int32, is4 bool, label string) (p asm.Instructions) {
	var own []netip.Addr
	for _, a := range n.address {
		if a.Addr().Is4() == is4 {
			own = append(own, a.Addr())
		}
	}
	for i, a := range own {
		bytes := a.AsSlice()
		after := fmt.Sprintf("%s-%d-%d", label, offset, i)
		for at := 0; at < len(bytes); at += 4 {
			p = append(p,
				asm.LoadAbs(offset+int32(at), asm.Word),
				asm.JNE.Imm32(asm.R0, int32(binary.BigEndian.Uint32(bytes[at:])), after))
		}
		p = append(p, asm.Ja.Label(label), asm.Mov.Imm(asm.R7, 0).WithSymbol(after))
	}
	return p
}
