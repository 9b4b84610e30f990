package test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// machine is a network namespace in the place of another host, held by a process.
type machine struct {
	pid     int
	address string
}

// in returns a command that runs in the machine's netns.
func (m machine) in(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", m.pid), "--", name}, args...)...)
}

// machines makes two that are connected by a link.
func machines(t *testing.T) (both [2]machine) {
	t.Helper()
	for i := range both {
		hold := exec.Command(probePath, "wait")
		hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
		p := startCommand(t, hold)
		p.waitLine(t, "ready")
		t.Cleanup(func() {
			hold.Process.Kill()
			p.wait(t)
		})
		both[i] = machine{hold.Process.Pid, fmt.Sprintf("192.0.2.%d", i+1)}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Namespace = "under", netlink.NsPid(both[0].pid)
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "under", PeerNamespace: netlink.NsPid(both[1].pid)}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	for _, m := range both {
		for _, args := range [][]string{{"address", "add", m.address + "/24", "dev", "under"}, {"link", "set", "under", "up"}, {"link", "set", "lo", "up"}} {
			if out, err := m.in("ip", args...).CombinedOutput(); err != nil {
				t.Fatalf("ip %q: %v: %s", args, err, out)
			}
		}
	}
	return both
}

// The recipe of docs/two-machines.md, as it stands, puts programs on two machines into
// one network.
func TestTwoMachines(t *testing.T) {
	leavesNothing(t)
	text, err := os.ReadFile("../docs/two-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(text)
	if recipe == nil {
		t.Fatal("no commands in the document")
	}
	both := machines(t)
	for i, m := range both {
		cmd := m.in("sh", "-eu", "-c", string(recipe[1]))
		cmd.Env = append(os.Environ(), "OWN="+m.address, "OTHERS="+both[1-i].address)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("the recipe on %s: %v: %s", m.address, err, out)
		}
	}
	root := rootfs(t)
	run := func(m machine, address string, verb ...string) *process {
		args := []string{"-chroot", root, "-bridge", "grid", "-network-address", address, "--", "probe"}
		return startCommand(t, m.in(containPath, append(args, verb...)...))
	}
	server := run(both[0], "10.42.0.11/24", "serve", "7")
	server.waitLine(t, "ready")
	if r := run(both[1], "10.42.0.11/24", "exit", "0").wait(t); r.code() != 125 || !strings.Contains(r.stderr, "is in use by a neighbour") {
		t.Errorf("the other machine's address: status %d, %q", r.code(), r.stderr)
	}
	run(both[1], "10.42.0.12/24", "talk", "10.42.0.11", "7", "1000").wait(t).want(t, 0, "1000 messages\n")
	server.wait(t).want(t, 0, "ready\n")
	run(both[1], "10.42.0.12/24", "cat", "/sys/class/net/eth0/mtu").wait(t).want(t, 0, "1450\n")
}
