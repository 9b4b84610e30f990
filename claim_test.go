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
	"strings"
	"testing"
	"time"

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
					offset := claimOffset(ns, index, one)
					if other, twice := seen[offset]; twice || offset <= 0 || offset+1 < 0 {
						t.Fatalf("claimOffset(%s) = %d; that of %q", what, offset, other)
					}
					seen[offset] = what
				}
				a, six = a.Next(), six.Next()
			}
		}
	}
	// An address is one, however it is kept.
	if a := netip.MustParseAddr("::ffff:1.2.3.4"); claimOffset(1, 2, a) != claimOffset(1, 2, a.Unmap()) {
		t.Error("claimOffset of 1.2.3.4 depends on its form")
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
	dir := filepath.Join(t.TempDir(), "a", "state") // is made
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
		if a, err := net.ParseMAC(mac); err != nil || isContained(a) {
			t.Errorf("isContained(%s), %v", mac, err)
		}
	}
	if isContained(nil) {
		t.Error("isContained(nil)")
	}
}

// A question that cannot be asked is answered by nobody, at once.
func TestQuestionWithoutAnInterface(t *testing.T) {
	q := newQuestion(1<<30, prefixes("172.17.0.99/24", "2001:db8::99/64"))
	defer q.close()
	if err := q.check(); err != nil {
		t.Error(err)
	}
	if err := (*question)(nil).check(); err != nil {
		t.Error(err)
	}
	(*question)(nil).close()
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
