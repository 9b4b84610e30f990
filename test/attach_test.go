package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// pair makes two connected interfaces in the tests' netns, the second one with an
// address, and returns the name of the first.
func pair(t *testing.T, address string) string {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "pair-a"
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "pair-b"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(link) })
	for _, name := range []string{"pair-a", "pair-b"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err == nil && name == "pair-b" {
			addr, _ := netlink.ParseAddr(address)
			err = netlink.AddrAdd(l, addr)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return "pair-a"
}

// Without an interface of its own the program has loopback only, the tests' netns, or
// another one.
func TestNetworkOfOthers(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	contain(t, "-chroot", root, "-network", "none", "--", "probe", "addrs").want(t, 0, "lo up\nlo up 127.0.0.1/8\n")

	r := contain(t, "-chroot", root, "-network", "host", "--", "probe", "addrs")
	if r.code() != 0 || !strings.Contains(r.stdout, bridgeName+" up 172.17.0.1/24\n") {
		t.Errorf("-network host: status %d, %q, %q", r.code(), r.stdout, r.stderr)
	}

	other := exec.Command(probePath, "wait")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	p := startCommand(t, other)
	p.waitLine(t, "ready")
	path := fmt.Sprintf("/proc/%d/ns/net", other.Process.Pid)
	inode, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	contain(t, "-chroot", root, "-network", "netns:"+path, "--", "probe", "addrs").want(t, 0, "lo down\n")
	held := start(t, "-chroot", root, "-network", "netns:"+path, "--", "probe", "wait")
	held.waitLine(t, "ready")
	if own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", initPID(t))); err != nil || own != inode {
		t.Errorf("the program is in %s, not in %s: %v", own, inode, err)
	}
	for _, one := range []*process{held, p} {
		one.cmd.Process.Signal(syscall.SIGTERM)
		one.wait(t)
	}
}

// An interface on top of one of the host's reaches what is behind that.
func TestMacvlan(t *testing.T) {
	leavesNothing(t)
	root, parent := rootfs(t), pair(t, "10.5.0.1/24")
	args := []string{"-chroot", root, "-network", "macvlan:" + parent, "-network-address", "10.5.0.7/24"}
	r := contain(t, append(args, "--", "probe", "addrs")...)
	if want := []string{"eth0 up", "eth0 up 10.5.0.7/24", "lo up", "lo up 127.0.0.1/8"}; r.code() != 0 || !slices.Equal(lines(r.stdout), want) {
		t.Errorf("status %d, %q, %q", r.code(), r.stdout, r.stderr)
	}
	route := contain(t, append(args, "--", "probe", "cat", "/proc/net/route")...).stdout
	if strings.Contains(route, "eth0\t00000000") {
		t.Errorf("a default route without -gateway:\n%s", route)
	}
	route = contain(t, append(args, "-gateway", "10.5.0.1", "--", "probe", "cat", "/proc/net/route")...).stdout
	if !strings.Contains(route, "eth0\t00000000\t0100050A") {
		t.Errorf("no default route:\n%s", route)
	}
	server := exec.Command(probePath, "serve", "7")
	s := startCommand(t, server)
	s.waitLine(t, "ready")
	contain(t, append(args, "--", "probe", "talk", "10.5.0.1", "7", "100")...).want(t, 0, "100 messages\n")
	s.wait(t)
	link, err := netlink.LinkByName(parent)
	if err == nil {
		err = netlink.LinkSetDown(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	contain(t, append(args, "--", "probe", "exit", "0")...).wantError(t, 125, `-network "macvlan:pair-a": is down`)
}

// Where an interface has no ARP, nobody can be asked, and that is no fault.
func TestMacvlanWithoutARP(t *testing.T) {
	leavesNothing(t)
	parent := pair(t, "10.5.0.1/24")
	link, err := netlink.LinkByName(parent)
	if err == nil {
		err = netlink.LinkSetARPOff(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	contain(t, "-chroot", rootfs(t), "-network", "macvlan:"+parent, "-network-address", "10.5.0.7/24", "-network-address", "2001:db8:5::7/64", "--", "probe", "exit", "7").want(t, 7, "")
	entries, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	if slices.ContainsFunc(entries, func(e netlink.Neigh) bool { return !e.IP.IsMulticast() }) || err != nil {
		t.Errorf("it is left with %v, %v", entries, err)
	}
}

// A macvlan goes with its program, though the kernel keeps the network namespace for a
// connection whose other end is gone: its addresses are free, and nobody answers.
func TestMacvlanOfAnUnfinishedConnection(t *testing.T) {
	leavesNothing(t)
	root, parent := rootfs(t), pair(t, "10.5.0.1/24")
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	listens(t, here, "10.5.0.1:7")
	args := []string{"-chroot", root, "-network", "macvlan:" + parent, "-network-address", "10.5.0.7/24", "-network-mac", "0e:00:00:00:00:07", "--", "probe"}
	p := start(t, append(args, "knock", "10.5.0.1", "7", "/proc/self/comm")...)
	p.waitLine(t, "ready")
	other, err := netlink.LinkByName("pair-b")
	if err == nil {
		err = netlink.LinkSetDown(other)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGTERM)
	p.wait(t)
	if err := netlink.LinkSetUp(other); err != nil {
		t.Fatal(err)
	}
	contain(t, append(args, "exit", "7")...).want(t, 7, "")
}

// What cannot be attached to is named, and what does not go together.
func TestNetworkKindsRefused(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	address := []string{"-network-address", "172.17.0.99/24"}
	for _, c := range []struct {
		args []string
		text string
	}{
		{[]string{"-network", "wlan"}, `-network "wlan": not none, host, bridge,`},
		{[]string{"-network", "host:1"}, `-network "host:1": host takes no argument`},
		{[]string{"-network", "netns:"}, `-network "netns:": which network namespace?`},
		{[]string{"-network", "netns:/nosuch"}, `-network "netns:/nosuch": no such file or directory`},
		{[]string{"-network", "netns:/etc/passwd"}, `-network "netns:/etc/passwd": is not a network namespace`},
		{[]string{"-network", "netns:/proc/self/ns/pid"}, `-network "netns:/proc/self/ns/pid": is not a network namespace`},
		{[]string{"-network", "bridge"}, "-network bridge needs -network-address"},
		{append(address, "-network", "none"), "-network none and -network-address exclude each other"},
		{append(address, "-network", "host"), "-network host and -network-address exclude each other"},
		{append(address, "-network", "macvlan:lo"), `-network "macvlan:lo": is a loopback interface`},
		{append(address, "-network", "macvlan:absent0"), `-network "macvlan:absent0": no such interface`},
		{append(address, "-network", "macvlan:a/b"), `-network "macvlan:a/b": not an interface name`},
		{append(address, "-network", "macvlan:lo", "-bridge", "x"), "-network macvlan and -bridge exclude each other"},
		{append(address, "-network", "ipvlan:lo", "-network-mac", "02:00:00:00:00:01"), "-network ipvlan and -network-mac exclude each other"},
		{append(address, "-network", "ipvlan:lo", "-network-bandwidth", "1mbit"), "only /up goes with -network ipvlan"},
		{[]string{"-dns", "x"}, `-dns "x": not an address`},
		{[]string{"-dns", "10.0.0.1"}, "-dns: the rootfs has no file /etc/resolv.conf"},
		{[]string{"-hosts", "db"}, `-hosts "db": not NAME:IP`},
		{[]string{"-hosts", "a b:10.0.0.1"}, `-hosts "a b:10.0.0.1": not a host name`},
		{[]string{"-hosts", "db:10.0.0.1"}, "-hosts: the rootfs has no file /etc/hosts"},
	} {
		contain(t, append(append([]string{"-chroot", root}, c.args...), "--", "probe", "exit", "0")...).wantError(t, 125, c.text)
	}
}

// An interface on top of another can be no better than that, and what is missing is
// told of.
func TestMacvlanRefused(t *testing.T) {
	leavesNothing(t)
	root, parent := rootfs(t), pair(t, "10.5.0.1/24")
	try := func(flags ...string) result {
		return contain(t, append(append([]string{"-chroot", root}, flags...), "--", "probe", "exit", "7")...)
	}
	try("-network", "macvlan:"+parent, "-network-address", "10.5.0.7/24", "-network-mtu", "1501").
		wantError(t, 125, "-network-mtu 1501: above that of pair-a, which is 1500")
	link, err := netlink.LinkByName(parent)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := netlink.ParseAddr("10.6.0.1/24")
	if err := netlink.AddrAdd(link, addr); err != nil {
		t.Fatal(err)
	}
	r := try("-network", "macvlan:"+parent, "-network-address", "10.5.0.7/24")
	r.wantError(t, 125, "not in a network of pair-a (10.6.0.1/24)")
	if strings.Contains(r.stderr, "bridge") {
		t.Errorf("stderr %q", r.stderr)
	}
	if r := try("-network", "ipvlan:"+parent, "-network-address", "10.6.0.7/24"); r.code() != 7 {
		r.wantError(t, 125, `-network "ipvlan:pair-a": this kernel has no ipvlan (CONFIG_IPVLAN)`)
	}
	other, err := netlink.LinkByName("pair-b")
	if err == nil {
		err = netlink.LinkSetDown(other)
	}
	if err != nil {
		t.Fatal(err)
	}
	try("-network", "macvlan:"+parent, "-network-address", "10.6.0.7/24").wantError(t, 125, `-network "macvlan:pair-a": has no carrier`)
}

// A network namespace's name is not its path; the hint is that.
func TestNetnsByItsName(t *testing.T) {
	leavesNothing(t)
	const dir = "/run/netns"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := os.WriteFile(dir+"/blue", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := contain(t, "-chroot", rootfs(t), "-network", "netns:blue", "--", "probe", "exit", "0")
	r.wantError(t, 125, `-network "netns:blue": no such file or directory`)
	if !strings.Contains(r.stderr, "hint: -network netns:/run/netns/blue\n") {
		t.Errorf("stderr %q", r.stderr)
	}
}

// Files that would not be seen, or not both, are no places for the program's own.
func TestOwnFilesWithoutAPlace(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, dir := range []string{"etc", "dev", "run"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dev/resolv", "run/both"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := func(resolv string) {
		for name, to := range map[string]string{"resolv.conf": resolv, "hosts": "../run/both"} {
			os.Remove(filepath.Join(root, "etc", name))
			if err := os.Symlink(to, filepath.Join(root, "etc", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	args := []string{"-chroot", root, "-dns", "10.0.0.1", "-hosts", "db:10.0.0.5", "--", "probe", "exit", "0"}
	links("/dev/resolv")
	contain(t, args...).wantError(t, 125, `-dns: /etc/resolv.conf in the rootfs leads to "/dev/resolv", which is mounted over`)
	links("/run/both")
	contain(t, args...).wantError(t, 125, "-hosts: /etc/resolv.conf and /etc/hosts in the rootfs are one file")
}

// The program's own files are seen inside only, and not to be written.
func TestOwnFiles(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	if err := os.MkdirAll(filepath.Join(root, "etc/real"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hosts", "real/resolv"} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte("DIR\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As the program would follow it, not the host.
	if err := os.Symlink("/etc/real/resolv", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	run := func(verb string, file string) result {
		return contain(t, "-chroot", root, "-dns", "10.0.0.1", "-dns", "2001:db8::1", "-hosts", "db:10.0.0.5", "--", "probe", verb, file)
	}
	run("cat", "/etc/resolv.conf").want(t, 0, "nameserver 10.0.0.1\nnameserver 2001:db8::1\n")
	run("cat", "/etc/hosts").want(t, 0, "127.0.0.1 localhost\n::1 localhost\n10.0.0.5 db\n")
	if r := contain(t, "-chroot", root, "-hosts", "db:10.0.0.5", "--", "probe", "open", "/etc/hosts", "w"); r.code() == 0 {
		t.Errorf("/etc/hosts can be written: %q", r.stdout)
	}
	contain(t, "-chroot", root, "-hosts", "db:10.0.0.5", "--", "probe", "cat", "/etc/resolv.conf").want(t, 0, "DIR\n")
	// For every user, whatever the umask.
	cmd := exec.Command("sh", "-c", `umask 077; exec "$0" "$@"`, containPath, "-chroot", root, "-hosts", "db:10.0.0.5", "--", "probe", "mode", "/etc/hosts")
	startCommand(t, cmd).wait(t).want(t, 0, "644\n")
	for _, name := range []string{"hosts", "real/resolv"} {
		if text, err := os.ReadFile(filepath.Join(root, "etc", name)); err != nil || string(text) != "DIR\n" {
			t.Errorf("%s in DIR is %q, %v", name, text, err)
		}
	}
}

// Files that are renamed anywhere on the host disturb no start, though the kernel gives
// up a look for ".." then.
func TestOwnFilesWhileOthersAreRenamed(t *testing.T) {
	leavesNothing(t)
	root, busy := rootfs(t), t.TempDir()
	for _, dir := range []string{"etc", "run"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	up := strings.Repeat("../run/", 100)
	if err := os.Symlink("../run/"+up+"resolv", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(root, "run/resolv"), filepath.Join(busy, "0")} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				os.Rename(filepath.Join(busy, "0"), filepath.Join(busy, "1"))
				os.Rename(filepath.Join(busy, "1"), filepath.Join(busy, "0"))
			}
		}
	}()
	for range often(30) {
		contain(t, "-chroot", root, "-dns", "10.0.0.1", "--", "probe", "cat", "/etc/resolv.conf").want(t, 0, "nameserver 10.0.0.1\n")
		if t.Failed() {
			break
		}
	}
	close(done)
	<-ended
}
