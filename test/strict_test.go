package test

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lies counts what has come to the tests' bridge since it was last asked: router
// advertisements, another's link-layer address in a router solicitation, and datagrams
// to DHCP clients.
func lies(t *testing.T) (count func() int) {
	t.Helper()
	open := func(family, kind, protocol int) int {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		if err == nil {
			t.Cleanup(func() { unix.Close(fd) })
			err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, bridgeName)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	icmp, clients := open(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6), open(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err := unix.Bind(clients, &unix.SockaddrInet4{Port: 68}); err != nil {
		t.Fatal(err)
	}
	return func() (seen int) {
		buf := make([]byte, 1500)
		for _, fd := range []int{icmp, clients} {
			for {
				n, _, err := unix.Recvfrom(fd, buf, 0)
				if errors.Is(err, syscall.EAGAIN) {
					break
				} else if err != nil {
					t.Fatal(os.NewSyscallError("recvfrom", err))
				}
				if fd == clients || n > 0 && buf[0] == 134 || n == 16 && buf[0] == 133 {
					seen++
				}
			}
		}
		return seen
	}
}

// With -network-strict a program's lies do not get as far as the bridge, and what it
// says as itself does. Without, they do: else this would show nothing.
func TestNetworkStrict(t *testing.T) {
	leavesNothing(t)
	root, count := rootfs(t), lies(t)
	for _, c := range []struct {
		flag  string
		lines []string
		count int
	}{
		{"-network-strict=false", []string{"ready", "172.17.0.200 lie", "172.17.0.99 end"}, 3},
		{"-network-strict", []string{"ready", "172.17.0.99 end"}, 0},
	} {
		victim := start(t, "-chroot", root, "-network-address", "172.17.0.98/24", "--", "probe", "hear", "7")
		victim.waitLine(t, "ready")
		contain(t, "-chroot", root, c.flag, "-network-address", "172.17.0.99/24", "-network-address", "2001:db8:17::99/64", "--",
			"probe", "lie", "172.17.0.200", "172.17.0.98", "7").want(t, 0, "")
		r := victim.wait(t)
		heard := strings.TrimSpace(r.stdout)
		if want := strings.Join(c.lines, "\n"); r.code() != 0 || heard != want {
			t.Errorf("%s: status %d, heard %q, want %q", c.flag, r.code(), heard, want)
		}
		deadline, got := time.Now().Add(patience), count()
		for ; got < c.count && time.Now().Before(deadline); got += count() {
			time.Sleep(time.Millisecond)
		}
		if got != c.count {
			t.Errorf("%s: %d lies on the bridge, want %d", c.flag, got, c.count)
		}
	}
}

// Services of the host on its loopback are not to be reached by way of the bridge, with
// packets for 127.0.0.1 either. Where the host is told to take those, they are: else
// this would show nothing.
func TestHostLoopbackIsOutOfReach(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	bridge(t, "br-local", "172.27.0.1/24")
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	listens(t, here, "172.27.0.1:7")
	tcp, err := net.Listen("tcp4", "127.0.0.1:8")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	args := []string{"-chroot", root, "-bridge", "br-local", "-network-address", "172.27.0.99/24", "--", "probe"}
	contain(t, append(args, "knock", "172.27.0.1", "8")...).want(t, 1, "connect: Connection refused\n")
	for _, c := range []struct {
		setting string
		arrives bool
	}{{"1", true}, {"0", false}} {
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/br-local/route_localnet", []byte(c.setting), 0); err != nil {
			t.Fatal(err)
		}
		contain(t, append(args, "via", "eth0", "127.0.0.1", "7", "172.27.0.1")...).want(t, 0, "sent\n")
		udp.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _, err := udp.ReadFrom(make([]byte, 9)); (n == 3 && err == nil) != c.arrives {
			t.Errorf("route_localnet %s: %d bytes, %v", c.setting, n, err)
		}
	}
}
