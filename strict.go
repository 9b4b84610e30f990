// -network-strict: a filter at the host end of the veth, through which only what is
// the program's own leaves: its hardware address, its addresses, no routers' or DHCP
// servers' messages. So no program can take an address of a neighbour's, redirect
// others, or fill the bridge's table.
//
// It is a BPF program on the ingress of the host end, tc-bpf(8), in the instructions
// that read a packet's bytes (LD_ABS, LD_IND). Those end the program with 0 beyond the
// end of a packet, which is "pass": before each the length is compared.
//
// It relies on the system call filter, which refuses packet sockets (knownSockets):
// what one sends with PACKET_VNET_HDR could be changed after it was read here, where
// its checksum is filled in.

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
	offPayload6  = offBody + 40

	skbLength, skbTagged = 0, 20 // in struct __sk_buff

	protoICMP, protoIGMP, protoTCP, protoUDP, protoICMP6, protoPIM = 1, 2, 6, 17, 58, 103
	extHopByHop, extFragment                                       = 0, 44

	redirect4, routerAdvertisement4                      = 5, 9
	groupReport1, groupReport2, groupLeave, groupReport3 = 0x12, 0x16, 0x17, 0x22

	routerSolicitation, routerAdvertisement, redirect             = 133, 134, 137
	solicitation, advertisement                                   = 135, 136 // of a neighbour
	listenerQuery, listenerReport1, listenerDone, listenerReport2 = 130, 131, 132, 143
	multicastRouter                                               = 151 // RFC 4286; in IGMP 0x30

	portDHCPServer, portDHCP, portDHCP6, portDHCP6Server = 67, 68, 546, 547

	tcPass, tcDrop int32 = 0, 2 // TC_ACT_OK, TC_ACT_SHOT
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

// filter is the program. R6 is the packet, R8 its length, R0 what was read last.
func (n network) filter() asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R0, asm.R6, skbTagged, asm.Word), // the kernel took a VLAN tag off
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R8, asm.R6, skbLength, asm.Word),
		asm.JLT.Imm(asm.R8, offBody, "drop"),
	}
	p = append(p, n.ownMAC(offSource)...)
	p = append(p,
		asm.LoadAbs(offEtherType, asm.Half),
		asm.JEq.Imm(asm.R0, unix.ETH_P_ARP, "arp"),
		asm.JEq.Imm(asm.R0, unix.ETH_P_IP, "ip4"),
		asm.JEq.Imm(asm.R0, unix.ETH_P_IPV6, "ip6"),
		asm.Ja.Label("drop"),
	)
	for _, part := range []func() asm.Instructions{n.arp, n.ip4, n.ip6} {
		p = append(p, part()...)
	}
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
	const senderMAC, senderIP, length = offBody + 8, offBody + 14, offBody + 28
	if !n.has(true) {
		return asm.Instructions{asm.Ja.Label("drop").WithSymbol("arp")}
	}
	p := asm.Instructions{asm.JLT.Imm(asm.R8, length, "drop").WithSymbol("arp")}
	p = append(p, n.ownMAC(senderMAC)...)
	p = append(p, n.ownAddress(senderIP, true, "pass")...)
	return append(p, asm.Ja.Label("drop"))
}

// ip4 lets through what comes from one of the program's addresses, but for routers'
// and DHCP servers' messages. What is for loopback a host with route_localnet takes.
func (n network) ip4() asm.Instructions {
	const header = 20
	if !n.has(true) {
		return asm.Instructions{asm.Ja.Label("drop").WithSymbol("ip4")}
	}
	p := asm.Instructions{asm.JLT.Imm(asm.R8, offBody+header, "drop").WithSymbol("ip4")}
	p = append(p, n.ownAddress(offBody+12, true, "own4")...)
	return append(p,
		asm.Ja.Label("drop"),
		asm.LoadAbs(offBody+16, asm.Byte).WithSymbol("own4"),
		asm.JEq.Imm(asm.R0, 127, "drop"),
		asm.LoadAbs(offBody+9, asm.Byte),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.JEq.Imm(asm.R9, protoPIM, "drop"),
		asm.JEq.Imm(asm.R9, protoUDP, "first4"),
		asm.JEq.Imm(asm.R9, protoICMP, "first4"),
		asm.JNE.Imm(asm.R9, protoIGMP, "pass"),

		asm.LoadAbs(offBody+6, asm.Half).WithSymbol("first4"),
		asm.And.Imm(asm.R0, 0x1fff), // a later fragment has no port or type
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadAbs(offBody, asm.Byte),
		asm.And.Imm(asm.R0, 0xf),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Add.Imm(asm.R0, offBody+4),
		asm.JGT.Reg(asm.R0, asm.R8, "drop"),
		asm.JEq.Imm(asm.R9, protoUDP, "udp4"),
		asm.LoadInd(asm.R0, asm.R7, offBody, asm.Byte),
		asm.JEq.Imm(asm.R9, protoIGMP, "igmp"),
		asm.JEq.Imm(asm.R0, redirect4, "drop"),
		asm.JEq.Imm(asm.R0, routerAdvertisement4, "drop"),
		asm.Ja.Label("pass"),

		asm.JEq.Imm(asm.R0, groupReport1, "pass").WithSymbol("igmp"),
		asm.JEq.Imm(asm.R0, groupReport2, "pass"),
		asm.JEq.Imm(asm.R0, groupLeave, "pass"),
		asm.JEq.Imm(asm.R0, groupReport3, "pass"),
		asm.Ja.Label("drop"),

		asm.JNE.Imm(asm.R7, header, "drop").WithSymbol("udp4"), // DHCP clients may not look for options
		asm.LoadAbs(offBody+header, asm.Half),
		asm.JEq.Imm(asm.R0, portDHCPServer, "drop"),
		asm.LoadAbs(offBody+header+2, asm.Half),
		asm.JEq.Imm(asm.R0, portDHCP, "drop"),
		asm.Ja.Label("pass"),
	)
}

// ip6 does the same. Headers behind which these messages could hide are dropped too,
// but for multicast listeners'.
func (n network) ip6() asm.Instructions {
	const next, destination = offBody + 6, offBody + 24
	if !n.has(false) {
		return asm.Instructions{asm.Ja.Label("drop").WithSymbol("ip6")}
	}
	p := asm.Instructions{asm.JLT.Imm(asm.R8, offPayload6, "drop").WithSymbol("ip6")}
	for at := int32(0); at < 12; at += 4 {
		p = append(p, asm.LoadAbs(destination+at, asm.Word), asm.JNE.Imm(asm.R0, 0, "distant"))
	}
	p = append(p,
		asm.LoadAbs(destination+12, asm.Word),
		asm.JEq.Imm(asm.R0, 1, "drop"), // loopback
		asm.Mov.Imm(asm.R7, 0).WithSymbol("distant"))
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
		asm.JLT.Imm(asm.R8, offPayload6+8, "drop"),
		asm.LoadAbs(offPayload6, asm.Byte),
		asm.JEq.Imm(asm.R0, protoTCP, "pass"),
		asm.JNE.Imm(asm.R0, protoUDP, "drop"),
		asm.LoadAbs(offPayload6+2, asm.Half),
		asm.And.Imm(asm.R0, 0xfff8),
		asm.JNE.Imm(asm.R0, 0, "pass"))
	p = append(p, udp6(offPayload6+8, "fragment")...)
	p = append(p, udp6(offPayload6, "udp6")...)
	p = append(p, n.icmp6()...)
	return append(p, listener()...)
}

// udp6 is what label leads to: a UDP header at offset.
func udp6(offset int32, label string) asm.Instructions {
	return asm.Instructions{
		asm.JLT.Imm(asm.R8, offset+4, "drop").WithSymbol(label),
		asm.LoadAbs(offset, asm.Half),
		asm.JEq.Imm(asm.R0, portDHCP6Server, "drop"),
		asm.LoadAbs(offset+2, asm.Half),
		asm.JEq.Imm(asm.R0, portDHCP6, "drop"),
		asm.Ja.Label("pass"),
	}
}

// icmp6 drops routers' messages, and neighbours' that are not about the program.
func (n network) icmp6() asm.Instructions {
	p := asm.Instructions{
		asm.JLT.Imm(asm.R8, offPayload6+8, "drop").WithSymbol("icmp6"),
		asm.LoadAbs(offPayload6, asm.Byte),
		asm.JEq.Imm(asm.R0, routerAdvertisement, "drop"),
		asm.JEq.Imm(asm.R0, redirect, "drop"),
		asm.JEq.Imm(asm.R0, listenerQuery, "drop"),
		asm.JEq.Imm(asm.R0, multicastRouter, "drop"),
		asm.JEq.Imm(asm.R0, routerSolicitation, "router"),
		asm.JEq.Imm(asm.R0, solicitation, "neighbour"),
		asm.JNE.Imm(asm.R0, advertisement, "pass"),
		asm.JLT.Imm(asm.R8, offPayload6+24, "drop"),
	}
	p = append(p, n.ownAddress(offPayload6+8, false, "neighbour")...)
	p = append(p, asm.Ja.Label("drop"))
	p = append(p, n.ownOption(8, "router")...)
	return append(p, n.ownOption(24, "neighbour")...)
}

// ownOption is what label leads to: a message of that size without options, or with
// one, the program's own link-layer address. What is beyond the payload's length is
// not seen by the receiver.
func (n network) ownOption(size int32, label string) asm.Instructions {
	const sourceAddress, targetAddress = 0x0101, 0x0201 // the type, and the length in eight bytes
	p := asm.Instructions{
		asm.JLT.Imm(asm.R8, offPayload6+size, "drop").WithSymbol(label),
		asm.LoadAbs(offBody+4, asm.Half),
		asm.JEq.Imm(asm.R0, size, "pass"),
		asm.JNE.Imm(asm.R0, size+8, "drop"),
		asm.JLT.Imm(asm.R8, offPayload6+size+8, "drop"),
	}
	p = append(p, n.ownMAC(offPayload6+size+2)...)
	return append(p,
		asm.LoadAbs(offPayload6+size, asm.Half),
		asm.JEq.Imm(asm.R0, sourceAddress, "pass"),
		asm.JEq.Imm(asm.R0, targetAddress, "pass"),
		asm.Ja.Label("drop"),
	)
}

// listener lets multicast listeners' messages through, behind their header.
func listener() asm.Instructions {
	return asm.Instructions{
		asm.JLT.Imm(asm.R8, offPayload6+8+4, "drop").WithSymbol("listener"),
		asm.LoadAbs(offPayload6, asm.Byte),
		asm.JNE.Imm(asm.R0, protoICMP6, "drop"),
		asm.LoadAbs(offPayload6+1, asm.Byte), // of eight bytes
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.LoadAbs(offPayload6+8, asm.Byte),
		asm.JEq.Imm(asm.R0, listenerReport1, "pass"),
		asm.JEq.Imm(asm.R0, listenerDone, "pass"),
		asm.JEq.Imm(asm.R0, listenerReport2, "pass"),
		asm.Ja.Label("drop"),
	}
}

// ownMAC drops what has another hardware address than the program's at offset.
func (n network) ownMAC(offset int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadAbs(offset, asm.Half),
		asm.JNE.Imm(asm.R0, int32(binary.BigEndian.Uint16(n.mac)), "drop"),
		asm.LoadAbs(offset+2, asm.Word),
		asm.JNE.Imm32(asm.R0, int32(binary.BigEndian.Uint32(n.mac[2:])), "drop"),
	}
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
