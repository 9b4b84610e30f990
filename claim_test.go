package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Each address on each segment has a lock of its own, and none the first byte, which
// says that the file is in use. The kernel takes no offset beyond an int64.
func TestClaimOffset(t *testing.T) {
	seen := map[int64]string{}
	for _, ns := range []uint64{0, 1, 4026531840, 4026531841, 1<<64 - 1} {
		for _, index := range []int{1, 2, 3, 1 << 20} {
			a, six := netip.MustParseAddr("172.17.0.0"), netip.MustParseAddr("2001:db8::ac11:0")
			for range 500 {
				for _, one := range []netip.Addr{a, six} {
					what := fmt.Sprint(ns, index, one)
					bytes := one.As16()
					offset := claimOffset(ns, index, bytes[:])
					if other, twice := seen[offset]; twice || offset <= 0 || offset+1 < 0 {
						t.Fatalf("claimOffset(%s) = %d; that of %q", what, offset, other)
					}
					seen[offset] = what
				}
				a, six = a.Next(), six.Next()
			}
		}
	}
}

// TestClaimInAnotherProcess is what the tests below start: record locks are between
// processes. It claims addresses again and again, and says how it went.
func TestClaimInAnotherProcess(t *testing.T) {
	dir, times := os.Getenv("CLAIM_DIR"), 0
	if dir == "" {
		t.Skip("is run by others")
	}
	fmt.Sscan(os.Getenv("CLAIM_TIMES"), &times)
	won, held := 0, filepath.Join(dir, "held")
	for range times {
		c, err := claimAddresses(dir, 7, prefixes(strings.Fields(os.Getenv("CLAIM_ADDRESSES"))...))
		if err != nil {
			if !strings.Contains(err.Error(), "is in use by another contain") || times == 1 {
				fmt.Println(err)
			}
			continue
		}
		won++
		if os.Getenv("CLAIM_ALONE") != "" {
			if f, err := os.OpenFile(held, os.O_CREATE|os.O_EXCL, 0o600); err != nil {
				fmt.Println("another has it too:", err)
			} else {
				f.Close()
				os.Remove(held)
			}
		}
		if os.Getenv("CLAIM_IN_STEP") != "" {
			inStep()
		}
		c.release()
	}
	fmt.Println("won", won)
}

// claimer is a process that claims addresses in dir.
func claimer(t *testing.T, dir string, times int, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestClaimInAnotherProcess$", "-test.v=false")
	cmd.Env = append(os.Environ(), append(env, "CLAIM_DIR="+dir, fmt.Sprint("CLAIM_TIMES=", times))...)
	return cmd
}

// skipEmulated skips a test whose second process cannot be started: qemu-user's host
// does not know what to do with it.
func skipEmulated(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.ENOEXEC) {
		t.Skip(err)
	}
}

// firstLine runs a process and returns the first line that it prints.
func firstLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	skipEmulated(t, err)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// An address belongs to one process, which is named to others, until that releases it.
// What was not claimed is free, and a refused claim leaves nothing claimed.
func TestClaimAddresses(t *testing.T) {
	dir := t.TempDir()
	c, err := claimAddresses(dir, 7, prefixes("172.17.0.99/24", "2001:db8::99/64"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, claimsName)
	if st, err := os.Stat(file); err != nil || st.Size() != 0 || st.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", st, err)
	}
	busy := "is in use by another contain, process " + fmt.Sprint(os.Getpid())
	for _, test := range []struct{ addresses, want string }{
		{"172.17.0.99/24", `-network-address "172.17.0.99/24": ` + busy},
		{"172.17.0.99/16", `-network-address "172.17.0.99/16": ` + busy},
		{"172.17.0.98/24 172.17.0.99/24", `-network-address "172.17.0.99/24": ` + busy},
		{"2001:db8::99/64", `-network-address "2001:db8::99/64": ` + busy},
		{"2001:db8::99/64 172.17.0.99/24", `-network-address "172.17.0.99/24": ` + busy}, // in one order
		{"172.17.0.98/24", "won 1"},
		{"172.17.0.98/24 172.17.0.98/24", "won 1"}, // twice, by one
	} {
		if got := firstLine(t, claimer(t, dir, 1, "CLAIM_ADDRESSES="+test.addresses)); got != test.want {
			t.Errorf("%s: %q, want %q", test.addresses, got, test.want)
		}
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("another's end has removed the file: %v", err)
		}
	}
	c.release()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("release leaves %v", entries)
	}
	if got := firstLine(t, claimer(t, dir, 1, "CLAIM_ADDRESSES=172.17.0.99/24 2001:db8::99/64")); got != "won 1" {
		t.Errorf("after the release: %q", got)
	}
	(*claim)(nil).release()
}

// Another interface is another segment.
func TestClaimsOnTwoSegments(t *testing.T) {
	dir := t.TempDir()
	c, err := claimAddresses(dir, 8, prefixes("172.17.0.99/24"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.release()
	if got := firstLine(t, claimer(t, dir, 1, "CLAIM_ADDRESSES=172.17.0.99/24")); got != "won 1" {
		t.Errorf("on another segment: %q", got)
	}
}

// A claim that fails gives back what it had got.
func TestRefusedClaimIsUndone(t *testing.T) {
	dir := t.TempDir()
	busy, err := claimAddresses(dir, 7, prefixes("172.17.0.99/24"))
	if err != nil {
		t.Fatal(err)
	}
	got := firstLine(t, claimer(t, dir, 2, "CLAIM_ADDRESSES=172.17.0.98/24 172.17.0.99/24"))
	if got != "won 0" {
		t.Errorf("it got %q", got)
	}
	busy.release()
	if _, err := os.Stat(filepath.Join(dir, claimsName)); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

// Where the state directory cannot be made, or the file cannot be in it, that is said.
func TestClaimAddressesFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, claimsName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, "/proc/nope", filepath.Join(dir, strings.Repeat("x", 300))} {
		if c, err := claimAddresses(d, 7, prefixes("172.17.0.99/24")); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("claimAddresses in %.50s: %v", d, err)
			c.release()
		}
	}
}

// crowd runs several processes that claim and release in one directory, and returns
// how often they won.
func crowd(t *testing.T, dir string, times int, env ...[]string) (won int) {
	t.Helper()
	var all []*exec.Cmd
	var outputs []*bytes.Buffer
	for _, e := range env {
		cmd, out := claimer(t, dir, times, e...), new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		err := cmd.Start()
		skipEmulated(t, err)
		if err != nil {
			t.Fatal(err)
		}
		all, outputs = append(all, cmd), append(outputs, out)
	}
	for i, cmd := range all {
		err := cmd.Wait()
		line, _, _ := strings.Cut(outputs[i].String(), "\n")
		n, scan := 0, error(nil)
		if _, scan = fmt.Sscanf(line, "won %d", &n); err != nil || scan != nil {
			t.Errorf("%v: %v\n%.500s", env[i], err, outputs[i])
		}
		won += n
	}
	return won
}

// Of several processes that claim one address and release it in quick succession, one
// has it at a time, and not all go without.
func TestRaceForOneAddress(t *testing.T) {
	dir, one := t.TempDir(), []string{"CLAIM_ADDRESSES=172.17.0.99/24 2001:db8::99/64", "CLAIM_ALONE=1"}
	if won := crowd(t, dir, 200, one, one, one, one); won == 0 {
		t.Errorf("won %d times of 800", won)
	}
	wantNoClaims(t, dir)
}

// Processes with different addresses do not disturb each other: each gets its own
// every time, though the file comes and goes.
func TestRaceOfReleaseAndOpen(t *testing.T) {
	dir := t.TempDir()
	var each [][]string
	for i := range 4 {
		each = append(each, []string{fmt.Sprintf("CLAIM_ADDRESSES=172.17.0.%d/24", 10+i)})
	}
	if won := crowd(t, dir, 200, each...); won != 800 {
		t.Errorf("won %d times of 800", won)
	}
	wantNoClaims(t, dir)
}

// The last to go removes the file, also where two go at the same instant.
func TestReleasesAtTheSameInstant(t *testing.T) {
	dir := t.TempDir()
	for range 40 {
		crowd(t, dir, 1, []string{"CLAIM_ADDRESSES=172.17.0.98/24", "CLAIM_IN_STEP=1"}, []string{"CLAIM_ADDRESSES=172.17.0.99/24", "CLAIM_IN_STEP=1"})
		if wantNoClaims(t, dir); t.Failed() {
			return
		}
	}
}

// inStep waits, awake, for a moment that is the same for other processes.
func inStep() {
	const period = 20 * time.Millisecond
	for next := time.Now().Truncate(period).Add(period); time.Now().Before(next); {
	}
}

// wantNoClaims fails the test if a directory has a file of claims.
func wantNoClaims(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, claimsName)); !os.IsNotExist(err) {
		t.Errorf("at the end the file is there: %v", err)
	}
}

// A neighbour with a hardware address such as contain gives is not taken for one of
// contain's, where no interface of this host goes with it.
func TestIsContained(t *testing.T) {
	for _, mac := range []string{"02:63:00:00:00:00", "0e:63:00:00:00:01", "02:64:00:00:00:01", "02:00:5e:10:00:00:00:01"} {
		if a, err := net.ParseMAC(mac); err != nil || isContained(a, 0) {
			t.Errorf("isContained(%s), %v", mac, err)
		}
	}
	if isContained(nil, 0) {
		t.Error("isContained(nil)")
	}
}

// never is when no signal comes.
func never() (unix.Signal, bool) {
	time.Sleep(signalArrives)
	return 0, false
}

// A question that cannot be asked is answered by nobody, at once.
func TestQuestionWithoutAnInterface(t *testing.T) {
	q, err := newQuestion(1<<30, network{address: prefixes("172.17.0.99/24", "2001:db8::99/64")})
	if errors.Is(err, unix.EPERM) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	if sig, err := q.check(never); err != nil || sig != 0 {
		t.Error(sig, err)
	}
	if sig, err := (*question)(nil).check(never); err != nil || sig != 0 {
		t.Error(sig, err)
	}
	(*question)(nil).close()
}

// table is a table of neighbours with somebody who answers, after a while, for some time.
type table struct {
	entries       []netlink.Neigh
	answers       netip.Addr
	after, gone   time.Time
	list, set     error // what fails
	asked, listed int
}

func (n *table) NeighList(int, int) ([]netlink.Neigh, error) {
	n.listed++
	now := time.Now()
	for i, e := range n.entries {
		if addressOf(e) == n.answers && e.State == 0 && now.After(n.after) && now.Before(n.gone) {
			n.entries[i].State, n.entries[i].HardwareAddr = netlink.NUD_REACHABLE, net.HardwareAddr{14, 0, 0, 0, 0, 1}
		}
	}
	return slices.Clone(n.entries), n.list
}

func (n *table) NeighSet(e *netlink.Neigh) error {
	n.asked++
	if n.set == nil {
		n.entries = append(n.entries, netlink.Neigh{IP: e.IP})
	}
	return n.set
}

func (n *table) NeighDel(e *netlink.Neigh) error {
	n.entries = slices.DeleteFunc(n.entries, func(old netlink.Neigh) bool { return old.IP.Equal(e.IP) })
	return nil
}

// asks is a question to a table, for two addresses.
func asks(n *table) *question {
	own, _ := net.ParseMAC("0e:00:00:00:00:17")
	return &question{index: 7, addresses: prefixes("10.0.0.1/24", "2001:db8::1/64"), own: own, table: n, made: map[netip.Addr]bool{}, asked: time.Now()}
}

// known is an entry for the first of them, of 0e:00:00:00:00:mac.
func known(state, flags int, mac byte) netlink.Neigh {
	return netlink.Neigh{IP: net.IPv4(10, 0, 0, 1), State: state, Flags: flags, HardwareAddr: net.HardwareAddr{14, 0, 0, 0, 0, mac}}
}

// What others than the kernel have put into its table stays there as it is, and counts
// as an answer if it is about another.
func TestQuestionAndEntriesOfOthers(t *testing.T) {
	const learned = netlink.NTF_EXT_LEARNED
	for _, test := range []struct {
		entry       netlink.Neigh
		stays, busy bool
	}{
		{known(netlink.NUD_PERMANENT, 0, 1), true, true},
		{known(netlink.NUD_PERMANENT, 0, 0x17), true, false}, // pinned to the program
		{known(netlink.NUD_NOARP, 0, 1), true, false},
		{known(netlink.NUD_NOARP, learned, 1), true, true},
		{known(netlink.NUD_STALE, learned, 1), true, true},
		{known(netlink.NUD_FAILED, learned, 1), true, false},
		{known(netlink.NUD_STALE, 0, 1), false, false},
		{known(netlink.NUD_REACHABLE, 0, 1), false, false}, // asked anew
	} {
		n := &table{entries: []netlink.Neigh{test.entry}}
		q := asks(n)
		if err := q.ask(); err != nil {
			t.Fatal(err)
		}
		if n.listed != 1 {
			t.Errorf("%v: listed %d times", &test.entry, n.listed)
		}
		if _, owner, err := q.answer(); (owner != nil) != test.busy || err != nil {
			t.Errorf("%v: owner %v, %v", &test.entry, owner, err)
		}
		q.close()
		stays := len(n.entries) == 1 && reflect.DeepEqual(n.entries[0], test.entry)
		if stays != test.stays || len(n.entries) > 1 {
			t.Errorf("%v: at the end there are %v", &test.entry, n.entries)
		}
	}
}

// What an administrator makes of an entry meanwhile is not contain's to remove.
func TestEntryIsTakenOver(t *testing.T) {
	n := &table{}
	q := asks(n)
	if err := q.ask(); err != nil || len(n.entries) != 2 {
		t.Fatal(err, n.entries)
	}
	n.entries[0] = known(netlink.NUD_PERMANENT, 0, 1)
	if _, owner, err := q.answer(); owner == nil || err != nil {
		t.Errorf("owner %v, %v", owner, err)
	}
	if q.close(); len(n.entries) != 1 || n.entries[0].State != netlink.NUD_PERMANENT {
		t.Errorf("at the end there are %v", n.entries)
	}
}

// A question that fails is not answered by nobody, except where nobody can be asked.
func TestQuestionFails(t *testing.T) {
	for _, test := range []struct {
		set  error
		want string
	}{
		{unix.ENOBUFS, `-network-address "10.0.0.1/24": ask who has it: the kernel's table of neighbours is full`},
		{unix.EPERM, `-network-address "10.0.0.1/24": ask who has it: operation not permitted`},
		{unix.EINVAL, ""},
		{unix.EAFNOSUPPORT, ""},
	} {
		if err := asks(&table{set: test.set}).ask(); text(err) != test.want {
			t.Errorf("%v: %v", test.set, err)
		}
	}
	n := &table{}
	q := asks(n)
	if err := q.ask(); err != nil {
		t.Fatal(err)
	}
	n.list = unix.ENOMEM
	if _, err := q.check(never); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("a list that fails: %v", err)
	}
	if err := asks(n).ask(); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("a list that fails first: %v", err)
	}
}

// Who answers is asked again, until it has been silent for as long as its first answer
// may have taken, and not for ever; a signal ends that.
func TestCheckAsksAgain(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name                string
		start, pause, stays time.Duration // of contain, before it is back, from the first answer
		want                string
		least, most         time.Duration
	}{
		{"gone at once", 0, 0, 10 * ms, "", neighbourIsSilent, 900 * ms},
		{"gone at once, slow start", 400 * ms, 0, 10 * ms, "", 400 * ms, 1100 * ms},
		{"back after a while", 0, 150 * ms, 10 * time.Second, `-network-address "10.0.0.1/24": is in use by a neighbour with the hardware address 0e:00:00:00:00:01`, netnsEnds, 2 * time.Second},
	} {
		n := &table{answers: netip.MustParseAddr("10.0.0.1"), gone: time.Now().Add(time.Hour)}
		q := asks(n)
		q.asked = q.asked.Add(-test.start)
		if err := q.ask(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := q.check(func() (unix.Signal, bool) {
			if n.asked <= 4 { // the first answer has been heard
				n.after, n.gone = began.Add(test.pause), began.Add(test.pause+test.stays)
			}
			return never()
		})
		if took := time.Since(began); text(err) != test.want || took < test.least || took > test.most {
			t.Errorf("%s: %v, after %v", test.name, err, took)
		}
	}
	n := &table{answers: netip.MustParseAddr("10.0.0.1"), gone: time.Now().Add(time.Hour)}
	q := asks(n)
	if err := q.ask(); err != nil {
		t.Fatal(err)
	}
	if sig, err := q.check(func() (unix.Signal, bool) { return unix.SIGTERM, n.asked > 4 }); sig != unix.SIGTERM || err != nil {
		t.Errorf("with a signal: %v, %v", sig, err)
	}
}

// The locks are in one place for all, or where contain can write.
func TestClaimsDir(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("must be run as root, whose they must be")
	}
	dir := t.TempDir()
	common, own := filepath.Join(dir, "a", "common"), filepath.Join(dir, "b", "own")
	if got, err := claimsDir("/proc/nope", own); got != own || err != nil {
		t.Errorf("where none can be made: %q, %v", got, err)
	}
	if got, err := claimsDir(common, own); got != common || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, d := range []string{common, own} {
		if st, err := os.Stat(d); err != nil || st.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", d, st, err)
		}
	}
	if got, err := claimsDir("/proc/nope", "/proc/nope"); err == nil || !strings.HasPrefix(err.Error(), `-state-dir "/proc/nope": `) {
		t.Errorf("nowhere: %q, %v", got, err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: its mounts end with it
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("none", common, "tmpfs", unix.MS_RDONLY, "")
		}
		if err == nil {
			if got, wrong := claimsDir(common, own); got != own || wrong != nil {
				t.Errorf("read-only: %q, %v", got, wrong)
			}
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// Locks that others see: a byte in the file for each claim, as fcntl(2) tells.
func TestClaimIsARecordLock(t *testing.T) {
	dir := t.TempDir()
	c, err := claimAddresses(dir, 7, prefixes("172.17.0.99/24"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.release()
	var st unix.Stat_t
	if err := unix.Fstat(int(c.file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Skip(err)
	}
	own := 0
	for line := range strings.Lines(string(locks)) {
		if f := strings.Fields(line); len(f) > 5 && f[4] == fmt.Sprint(os.Getpid()) && strings.HasSuffix(f[5], fmt.Sprint(":", st.Ino)) {
			own++
		}
	}
	if own != 2 {
		t.Errorf("%d locks, want one on the first byte and one for the address:\n%s", own, locks)
	}
}
