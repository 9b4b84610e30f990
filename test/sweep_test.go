package test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What contains that were killed have left goes with the next start, or with "contain
// gc"; and nothing else goes.

// killed is what a contain that was killed by SIGKILL has left: its state entry, with
// the program's processes gone.
func killed(t *testing.T, args ...string) (entry string) {
	t.Helper()
	before := stateEntries(t)
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // no pipe, that one who lives on would hold
	must(t, err)
	defer out.Close()
	cmd := exec.Command(containPath, append([]string{"-chroot", rootfs(t)}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	p := startCommand(t, cmd)
	waitFor(t, "the program", func() bool {
		text, err := os.ReadFile(out.Name())
		must(t, err)
		if strings.Contains(string(text), "contain: ") {
			t.Fatalf("%q: %s", args, text)
		}
		return string(text) == "ready\n"
	})
	entries := without(stateEntries(t), before)
	if len(entries) != 1 {
		t.Fatalf("one contain has the state entries %v", entries)
	}
	pids := processesIn(t, entries[0])
	if len(pids) == 0 {
		t.Fatal("no processes are seen")
	}
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
	waitFor(t, "the program to end", func() bool {
		return slices.Contains(args, "-init=false") || !slices.ContainsFunc(pids, isAlive)
	})
	return filepath.Join(stateDir, entries[0])
}

func isAlive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// stateEntries returns the names of the state entries.
func stateEntries(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(stateDir)
	must(t, err)
	for _, e := range entries {
		if e.IsDir() { // else: of the locks
			names = append(names, e.Name())
		}
	}
	return names
}

// wantOnly fails the test unless these state entries are there, with their cgroups, and
// no others.
func wantOnly(t *testing.T, entries ...string) {
	t.Helper()
	names := []string{}
	for _, e := range entries {
		names = append(names, filepath.Base(e))
	}
	slices.Sort(names)
	if got := stateEntries(t); !slices.Equal(got, names) {
		t.Errorf("state entries %q, want %q", got, names)
	}
	for _, dir := range cgroupDirs(t) {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(dir, name) }) {
			t.Errorf("left: cgroup %s", dir)
		}
	}
}

var exit0 = []string{"--", "probe", "exit", "0"}

// The next start removes what is left, and no sibling's.
func TestNextStartSweeps(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	sibling := start(t, "-chroot", root, "-network-address", "172.17.0.70/24", "--", "probe", "wait")
	sibling.waitLine(t, "ready")
	theirs := stateEntries(t)
	for _, args := range [][]string{{}, {"-network-address", "172.17.0.71/24"}, {"-memory-limit", "64M"}, {"-userns", "-chroot", mappable(t)}, {"-init=false"}} {
		killed(t, append(args, "--", "probe", "wait")...)
		r := contain(t, append([]string{"-chroot", root}, exit0...)...)
		r.want(t, 0, "")
		wantOnly(t, theirs...)
	}
	sibling.signal(t, syscall.SIGTERM)
	sibling.wait(t)
}

// gc says what it removes, and does what the next start does.
func TestGarbageCollection(t *testing.T) {
	leavesNothing(t)
	sibling := start(t, "-chroot", rootfs(t), "--", "probe", "wait")
	sibling.waitLine(t, "ready")
	theirs := stateEntries(t)
	entry := killed(t, "-network-address", "172.17.0.71/24", "--", "probe", "wait")
	var want []string
	for _, dir := range cgroupDirs(t) {
		if strings.Contains(dir, filepath.Base(entry)) {
			want = append(want, "removed "+dir)
		}
	}
	if len(want) == 0 && !underSystemd() {
		t.Fatal("no cgroups are left")
	}
	r := contain(t, "gc")
	if r.code() != 0 || r.stderr != "" || !strings.Contains(r.stdout, "removed "+entry+"\n") {
		t.Errorf("status %d, stdout %q, stderr %q", r.code(), r.stdout, r.stderr)
	}
	for _, line := range want {
		if !underSystemd() && !strings.Contains(r.stdout, line+"\n") {
			t.Errorf("stdout %q lacks %q", r.stdout, line)
		}
	}
	wantOnly(t, theirs...)
	contain(t, "gc").want(t, 0, "")
	contain(t, "gc", "-state-dir", t.TempDir()+"/none").wantError(t, 125, "no such file or directory")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	cmd := exec.Command(containPath, "gc") // removes all, though it cannot say so
	killed(t, "--", "probe", "wait")
	cmd.Stdout = full
	startCommand(t, cmd).wait(t).wantError(t, 125, "no space left on device")
	wantOnly(t, theirs...)
	contain(t, "gc", "-memory-limit", "1M").wantError(t, 125, "gc takes nothing but -state-dir")
	contain(t, "gc", "probe").wantError(t, 125, "gc takes nothing but -state-dir")
	sibling.signal(t, syscall.SIGTERM)
	sibling.wait(t)
}

// A program that outlives its contain (-init=false: it has asked the kernel not to end
// it) ends with the next start.
func TestSweepEndsTheProgram(t *testing.T) {
	leavesNothing(t)
	for _, program := range []string{"outlive", "leaderless"} {
		entry := killed(t, "-init=false", "--", "probe", program)
		pids := processesIn(t, entry)
		if len(pids) == 0 {
			t.Fatal("the program has not outlived contain")
		}
		contain(t, append([]string{"-chroot", rootfs(t)}, exit0...)...).want(t, 0, "")
		waitFor(t, "the program to end", func() bool { return !slices.ContainsFunc(pids, isAlive) })
		sweep(t) // where it took long to end
		wantOnly(t)
	}
}

// processesIn returns the processes in the cgroup of a state entry.
func processesIn(t *testing.T, entry string) (pids []int) {
	t.Helper()
	for _, dir := range cgroupDirs(t) {
		if strings.Contains(dir, filepath.Base(entry)) {
			members, _ := cgroups.GetPids(dir)
			pids = append(pids, members...)
		}
	}
	return pids
}

// A process that somebody has put into a dead container's cgroup is not killed: the
// cgroup stays, and gc says why, until it is gone.
func TestForeignProcessInADeadCgroup(t *testing.T) {
	leavesNothing(t)
	if underSystemd() {
		t.Skip("systemd ends what is in a scope")
	}
	killed(t, "--", "probe", "wait")
	foreign := exec.Command("sleep", "1000")
	must(t, foreign.Start())
	defer foreign.Process.Kill()
	dirs := cgroupDirs(t)
	must(t, cgroups.WriteCgroupProc(dirs[0], foreign.Process.Pid))
	before := time.Now()
	contain(t, append([]string{"-chroot", rootfs(t)}, exit0...)...).want(t, 0, "")
	if waited := time.Since(before); waited > patience/2 {
		t.Errorf("the next start took %s", waited)
	}
	contain(t, "gc").wantError(t, 125, "for process "+itoa(foreign.Process.Pid)+", which is not the program's, is in it")
	if !isAlive(foreign.Process.Pid) {
		t.Error("the foreign process was killed")
	}
	must(t, foreign.Process.Kill())
	foreign.Wait()
	contain(t, append([]string{"-chroot", rootfs(t)}, exit0...)...).want(t, 0, "")
	wantOnly(t)
}

// What a state entry says is not believed: nothing else is removed, or ended.
func TestGarbageInTheStateDirectory(t *testing.T) {
	leavesNothing(t)
	own := filepath.Join("/sys/fs/cgroup", "contain-test-garbage")
	if !unified() {
		own = filepath.Join("/sys/fs/cgroup/cpuset", "contain-test-garbage")
	}
	must(t, os.Mkdir(own, 0o755))
	defer os.Remove(own)
	elsewhere := filepath.Join(t.TempDir(), "contain-01234567")
	must(t, os.Mkdir(elsewhere, 0o755))
	keep := map[string]string{ // what is no entry
		"notes": "x", "0123456": "x", "012345678": "x", "ABCDEF01": "x", "g0123456": "x", "fedcba98": "a file",
	}
	for name, text := range keep {
		must(t, os.WriteFile(filepath.Join(stateDir, name), []byte(text), 0o600))
		defer os.Remove(filepath.Join(stateDir, name))
	}
	must(t, os.Symlink(elsewhere, stateDir+"/89abcdef"))
	defer os.Remove(stateDir + "/89abcdef")
	for i, text := range []string{
		own, "cgroup " + own + "\ncgroup /\n\ncgroup " + filepath.Dir(own) + "/../..\n", "cgroup " + elsewhere[:len(elsewhere)-8] + "\n",
		strings.Repeat("\x00\xff", 1<<16), "cgroup contain-01234567", "cgroup /sys/fs/cgroup/../contain-01234567\n", "netns net:[1]\n", "",
	} {
		entry := filepath.Join(stateDir, "0123456"+itoa(7+i%3))
		must(t, os.Mkdir(entry, 0o700), os.WriteFile(entry+"/made", []byte(text), 0o600),
			os.WriteFile(entry+"/state.json", []byte(`{"cgroup_paths":{"memory":"`+own+`"},"init_process_pid":1}`), 0o600))
		contain(t, append([]string{"-chroot", rootfs(t)}, exit0...)...).want(t, 0, "")
		if _, err := os.Lstat(entry); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%.40q: the entry stays: %v", text, err)
		}
	}
	theirs := stateDir + "/01234567" // somebody's directory that has such a name
	must(t, os.Mkdir(theirs, 0o700), os.WriteFile(theirs+"/thesis", nil, 0o600), os.WriteFile(theirs+"/made", []byte("cgroup "+elsewhere+"\n"), 0o600))
	contain(t, append([]string{"-chroot", rootfs(t)}, exit0...)...).want(t, 0, "")
	contain(t, "gc").want(t, 0, "")
	must(t, os.Remove(theirs+"/thesis"))
	contain(t, "gc").wantError(t, 125, "cgroup \""+elsewhere+"\" cannot be seen") // and what cannot be seen is kept in mind
	must(t, os.RemoveAll(theirs))
	entry := stateDir + "/0123456a" // a FIFO would be waited for, a link followed
	must(t, os.Mkdir(entry, 0o700), unix.Mkfifo(entry+"/made", 0o600))
	contain(t, "gc").want(t, 0, "removed "+entry+"\n")
	linked, text := filepath.Join(filepath.Dir(own), "contain-0123456a"), filepath.Join(t.TempDir(), "text")
	must(t, os.Mkdir(linked, 0o755), os.WriteFile(text, []byte("cgroup "+linked+"\n"), 0o600))
	must(t, os.Mkdir(entry, 0o700), os.Symlink(text, entry+"/made"))
	contain(t, "gc").want(t, 0, "removed "+entry+"\n")
	must(t, os.Remove(linked))
	for _, path := range append([]string{own, elsewhere, stateDir + "/89abcdef"}, stateDir+"/notes", stateDir+"/fedcba98") {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("gone: %v", err)
		}
	}
}

// An entry that another sweeper has at the moment, and one that is locked by its owner,
// stay.
func TestLockedEntryStays(t *testing.T) {
	leavesNothing(t)
	entry := killed(t, "--", "probe", "wait")
	f, err := os.Open(entry)
	must(t, err, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	contain(t, append([]string{"-chroot", rootfs(t)}, exit0...)...).want(t, 0, "")
	contain(t, "gc").want(t, 0, "")
	wantOnly(t, entry)
	f.Close()
	sweep(t)
}

// The veth of a contain that was killed stays while somebody holds the program's network
// namespace: the next start removes it. That of a program too short for contain to see
// that, gc removes, but none that is up or whose contain runs.
func TestSweepOfHeldNetns(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	p := start(t, "-chroot", root, "-network-address", "172.17.0.71/24", "--", "probe", "wait")
	p.waitLine(t, "ready")
	dead := holdNetns(t)
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
	elsewhere := exec.Command("unshare", "-n", containPath, "gc") // cannot remove it, and does not forget it
	if out, err := elsewhere.CombinedOutput(); err == nil || !strings.Contains(string(out), "another network namespace") {
		t.Errorf("gc in another network namespace: %s", out)
	}
	contain(t, append([]string{"-chroot", root}, exit0...)...).want(t, 0, "")
	if names := hostEnds(t); len(names) > 0 {
		t.Errorf("%v are there", names)
	}

	live := start(t, "-chroot", root, "-state-dir", t.TempDir(), "-network-address", "172.17.0.71/24", "--", "probe", "wait")
	live.waitLine(t, "ready")
	theirs := hostEnds(t)
	for name, veth := range map[string]struct {
		mac string
		up  bool
	}{"ctn0badcafe": {"fe:63:00:00:00:01", false}, "ctn1badcafe": {"fe:63:00:00:00:01", true}, "ctn2badcafe": {"fe:00:00:00:00:02", false}} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		attrs.HardwareAddr, _ = net.ParseMAC(veth.mac)
		if veth.up {
			attrs.Flags = net.FlagUp
		}
		link := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(dead)}
		must(t, netlink.LinkAdd(link))
		defer netlink.LinkDel(link)
	}
	link, err := netlink.LinkByName(theirs[0])
	must(t, err, netlink.LinkSetDown(link))
	contain(t, "gc").want(t, 0, "removed interface ctn0badcafe\n")
	names := hostEnds(t)
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(slices.Values(append(theirs, "ctn1badcafe", "ctn2badcafe")))) {
		t.Errorf("there are %v", names)
	}
	live.signal(t, syscall.SIGTERM)
	live.wait(t)
}

// Many start at once where many have died: each runs, and all is removed.
func TestManySweepAtOnce(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	n := often(30)
	var dead []*process
	for range n {
		dead = append(dead, start(t, "-chroot", root, "--", "probe", "wait"))
	}
	for _, p := range dead {
		p.waitLine(t, "ready")
		p.signal(t, syscall.SIGKILL)
	}
	for _, p := range dead {
		p.wait(t)
	}
	workers(8, n, func(int, int) {
		contain(t, append([]string{"-chroot", root}, exit0...)...).want(t, 0, "")
	})
	sweep(t) // what had not quite ended
	wantOnly(t)
}

// A start that meets a sweeper in the moment in which its entry is not locked yet takes
// another name.
func TestEntryIsTakenAway(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	quit, done := make(chan struct{}), make(chan int)
	go func() {
		taken := 0
		for {
			select {
			case <-quit:
				done <- taken
				return
			default:
			}
			entries, _ := os.ReadDir(stateDir)
			for _, e := range entries {
				f, err := os.Open(filepath.Join(stateDir, e.Name()))
				if err != nil {
					continue
				}
				if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
					os.RemoveAll(f.Name())
					taken++
				}
				f.Close()
			}
		}
	}()
	for range often(100) {
		contain(t, append([]string{"-chroot", root}, exit0...)...).want(t, 0, "")
	}
	close(quit)
	taken := <-done
	if t.Logf("%d were taken away", taken); taken == 0 && !testing.Short() {
		t.Error("no entry was met before its lock")
	}
}
