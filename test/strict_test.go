package test

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// routers counts the router advertisements that arrive on the tests' bridge.
func routers(t *testing.T) (count func() int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	bridge, err := net.InterfaceByName(bridgeName)
	if err == nil {
		err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, bridge.Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	return func() int {
		buf := make([]byte, 1500)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, syscall.EAGAIN) {
				return seen
			} else if err != nil {
				t.Fatal(os.NewSyscallError("recvfrom", err))
			}
			if n > 0 && buf[0] == 134 {
				seen++
			}
		}
	}
}

// With -network-strict a program's lies do not get as far as the bridge, and what it
// says as itself does. Without, they do: else this would show nothing.
func TestNetworkStrict(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	for _, c := range []struct {
		flag  string
		lines []string
		count int
	}{
		{"-network-strict=false", []string{"ready", "172.17.0.200 lie", "172.17.0.99 end"}, 1},
		{"-network-strict", []string{"ready", "172.17.0.99 end"}, 0},
	} {
		count := routers(t)
		victim := start(t, "-chroot", root, "-network-address", "172.17.0.98/24", "--", "probe", "hear", "7")
		victim.waitLine(t, "ready")
		contain(t, "-chroot", root, c.flag, "-network-address", "172.17.0.99/24", "-network-address", "2001:db8:17::99/64", "--",
			"probe", "lie", "172.17.0.200", "172.17.0.98", "7").want(t, 0, "")
		r := victim.wait(t)
		got := strings.TrimSpace(r.stdout)
		if want := strings.Join(c.lines, "\n"); r.code() != 0 || got != want {
			t.Errorf("%s: status %d, heard %q, want %q", c.flag, r.code(), got, want)
		}
		deadline := time.Now().Add(patience)
		for c.count > 0 && count() < c.count && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if got := count(); got != c.count {
			t.Errorf("%s: %d router advertisements, want %d", c.flag, got, c.count)
		}
	}
}

// Services of the host on its loopback are not to be reached by way of the bridge.
func TestHostLoopbackIsOutOfReach(t *testing.T) {
	leavesNothing(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	r := contain(t, "-chroot", rootfs(t), "-network-address", "172.17.0.99/24", "--", "probe", "talk", "172.17.0.1", port, "1")
	if r.code() == 0 || !strings.Contains(r.stdout+r.stderr, "Connection refused") {
		t.Errorf("status %d, %q, %q", r.code(), r.stdout, r.stderr)
	}
}
