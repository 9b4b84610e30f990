package main

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseRlimit(t *testing.T) {
	const none = unix.RLIM_INFINITY
	tests := []struct {
		in   string
		want rlimit
		text string
	}{
		{"nofile=1024", rlimit{"nofile", 1024, 1024}, "1024:1024"},
		{"nofile=1024:4096", rlimit{"nofile", 1024, 4096}, "1024:4096"},
		{"nofile=01024", rlimit{"nofile", 1024, 1024}, "1024:1024"},
		{"nofile=0", rlimit{"nofile", 0, 0}, "0:0"},
		{"nproc=10:unlimited", rlimit{"nproc", 10, none}, "10:unlimited"},
		{"nproc=unlimited", rlimit{"nproc", none, none}, "unlimited:unlimited"},
		{"nproc=-1", rlimit{"nproc", none, none}, "unlimited:unlimited"},
		{"cpu=10:20", rlimit{"cpu", 10, 20}, "10:20"},
		{"as=128M", rlimit{"as", 128 << 20, 128 << 20}, "134217728:134217728"},
		{"as=4096:1.5G", rlimit{"as", 4096, 3 << 29}, "4096:1610612736"},
		{"stack=8MiB:unlimited", rlimit{"stack", 8 << 20, none}, "8388608:unlimited"},
		{"fsize=0", rlimit{"fsize", 0, 0}, "0:0"}, // no file may grow: a limit, not none
		{"fsize=1", rlimit{"fsize", 1, 1}, "1:1"},
		{"as=9223372036854775807", rlimit{"as", 1<<63 - 1, 1<<63 - 1}, "9223372036854775807:9223372036854775807"},
	}
	for _, test := range tests {
		got, err := parseRlimit(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseRlimit(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
		}
		if got.String() != test.text {
			t.Errorf("parseRlimit(%q).String() = %q, want %q", test.in, got, test.text)
		}
	}
}

func TestParseRlimitRefuses(t *testing.T) {
	const known = "no such limit (known: as, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack)"
	tests := []struct {
		want   string
		inputs []string
	}{
		{"not NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024", []string{"", "nofile", "core", "1024", ":", "nofile:1024"}},
		{known, []string{"=", "=1", "files=1", "NOFILE=1", "nofile =1", " nofile=1", "RLIMIT_NOFILE=1", "\n=1", "corE=1"}},
		{"core files are always off, see contain(8)", []string{"core=0", "core=unlimited", "core=", "core=x"}},
		{"the soft limit is above the hard one", []string{"nofile=2:1", "nofile=unlimited:1", "as=1G:1M", "as=unlimited:9223372036854775807", "nproc=-1:5"}},
		{"too large", []string{
			"nofile=9223372036854775808", "nofile=18446744073709551615", "nofile=18446744073709551616", "as=9223372036854775808", "as=18446744073709551615",
			"as=18446744073709551616", "nofile=1:18446744073709551617", "as=99999999P", "nofile=" + digits41, "nofile=" + digits1M, "as=" + digits1M, "as=" + digits1M + "M",
		}},
		{"not a number, or unlimited", []string{
			"nofile=1:", "nofile=:1", "nofile=:", "nofile=1:2:3", "nofile=1=2", "nofile=1K", "cpu=1s", "nofile=-2", "nofile=1.5",
			"nofile=Unlimited", "nofile=unlimited ", "nofile=infinity", "nofile=max", "nofile=1,2",
		}},
		{"empty size", []string{"as=", "as=:1", "as=1:"}},
		{"must not be negative", []string{"as=-2", "as=1:-2"}},
		{"must be greater than zero (leave the flag out for no limit)", []string{"as=0M"}},
		{"not a size, such as 128M", []string{"as=max", "as=1:2:3", "as=1e3", "as=+1", "as=0x10", "as=1_0", "as=1 ", "as= 1"}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			if got, err := parseRlimit(in); text(err) != test.want {
				t.Errorf("parseRlimit(%s) = %+v, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
	for _, number := range notPlain {
		if number == "-1" {
			continue
		}
		if got, err := parseRlimit("nofile=" + number); text(err) != "not a number, or unlimited" && number != "unlimited" {
			t.Errorf("parseRlimit(nofile=%q) = %+v, %v", number, got, err)
		}
	}
}

// The names are those that contain.8 lists.
func TestRlimitsAreDocumented(t *testing.T) {
	m := regexp.MustCompile(`(?s)\.Xr setrlimit 2 :\n(.*?)\.\n`).FindStringSubmatch(document(t, "contain.8"))
	if m == nil {
		t.Fatal("contain.8 has no list of limits")
	}
	names := regexp.MustCompile(`, | or |\n`).Split(m[1], -1)
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, ",")
		if _, known := rlimitKinds[names[i]]; !known {
			t.Errorf("contain.8 has %q, which is not known", name)
		}
	}
	if len(names) != len(rlimitKinds) {
		t.Errorf("contain.8 has %d limits, %q; known are %d", len(names), names, len(rlimitKinds))
	}
}

// unprivileged runs f in a thread that has no CAP_SYS_RESOURCE, and ends with f.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and not unlocked
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&head, &data[0])
		data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
		if err == nil {
			err = unix.Capset(&head, &data[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRlimitCheck(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	if own.Max < 2 || own.Max >= 1<<62 {
		t.Skipf("the hard limit of nofile is %d", own.Max)
	}
	above := "above contain's own hard limit, " + strconv.FormatUint(own.Max, 10) + ", which it may not raise: it lacks CAP_SYS_RESOURCE"
	tests := []struct {
		soft, hard uint64
		want       string
	}{
		{1, 1, ""},
		{1, own.Max - 1, ""},
		{own.Max, own.Max, ""},
		{own.Max + 1, own.Max + 1, above},
		{1, own.Max + 1, above},
		{1, unix.RLIM_INFINITY, above},
	}
	for _, test := range tests {
		l := rlimit{"nofile", test.soft, test.hard}
		unprivileged(t, func() {
			if got := text(l.check()); got != test.want {
				t.Errorf("%s, unprivileged: %q, want %q", l, got, test.want)
			}
		})
		if !mayRaiseLimits() {
			continue
		}
		if err := l.check(); err != nil {
			t.Errorf("%s, privileged: %v", l, err)
		}
	}
}

func TestMayRaiseLimits(t *testing.T) {
	status, err := os.ReadFile("/proc/thread-self/status")
	m := regexp.MustCompile(`(?m)^CapEff:\s*([0-9a-f]+)$`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no effective capabilities: %v", err)
	}
	mask, err := strconv.ParseUint(string(m[1]), 16, 64)
	if want := mask&(1<<unix.CAP_SYS_RESOURCE) != 0; err != nil || mayRaiseLimits() != want {
		t.Errorf("capabilities %s: mayRaiseLimits() = %v", m[1], mayRaiseLimits())
	}
	unprivileged(t, func() {
		if mayRaiseLimits() {
			t.Error("may raise limits without CAP_SYS_RESOURCE")
		}
	})
}

// sleeper starts a process that does nothing until the test ends.
func sleeper(t *testing.T) (pid int) {
	t.Helper()
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command.Process.Pid
}

func TestRlimitSet(t *testing.T) {
	pid := sleeper(t)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"nofile=11:12", "cpu=1000:2000", "as=512M:1G", "nproc=7", "fsize=0", "rtprio=0", "stack=1M"} {
		l, err := parseRlimit(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.set(pid); err != nil {
			t.Error(err)
		}
		var got unix.Rlimit
		if err := unix.Prlimit(pid, rlimitKinds[l.name].resource, nil, &got); err != nil || got != (unix.Rlimit{Cur: l.soft, Max: l.hard}) {
			t.Errorf("%s: the process has %+v, %v", in, got, err)
		}
	}
	var after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil || after != before {
		t.Errorf("the caller's own limit is %+v, was %+v, %v", after, before, err)
	}
	want := `set the program's limit "nofile": no such process`
	if err := (rlimit{"nofile", 1, 1}).set(1 << 30); text(err) != want {
		t.Errorf("set of no process: %v, want %s", err, want)
	}
}

// Each name is the kernel's own limit of that name, proc_pid_limits(5).
func TestRlimitNames(t *testing.T) {
	pid := sleeper(t)
	labels := map[string]string{
		"as": "address space", "cpu": "cpu time", "data": "data size", "fsize": "file size", "locks": "file locks", "memlock": "locked memory",
		"msgqueue": "msgqueue size", "nice": "nice priority", "nofile": "open files", "nproc": "processes", "rss": "resident set",
		"rtprio": "realtime priority", "rttime": "realtime timeout", "sigpending": "pending signals", "stack": "stack size",
	}
	value := uint64(1000)
	for name, label := range labels {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, rlimitKinds[name].resource, nil, &now); err != nil {
			t.Fatal(err)
		}
		value++ // or less, where it may not be raised: nice and rtprio are usually 0
		l := rlimit{name, min(value, now.Max), min(value, now.Max)}
		if err := l.set(pid); err != nil {
			t.Errorf("%s=%s: %v", name, l, err)
		}
		limits, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
		if err != nil {
			t.Fatal(err)
		}
		line := regexp.MustCompile(`(?m)^Max ` + label + ` +(\d+) +(\d+)( |$)`).FindSubmatch(limits)
		if line == nil || string(line[1])+":"+string(line[2]) != l.String() {
			t.Errorf("%s=%s: %q of\n%s", name, l, line, limits)
		}
	}
	if len(labels) != len(rlimitKinds) {
		t.Errorf("%d limits are known, %d were tried", len(rlimitKinds), len(labels))
	}
}

// Of several limits of one name only the last is set: without CAP_SYS_RESOURCE the
// kernel lets none raise what one before has lowered. So it is with sigpending, which
// has a limit of contain's own.
func TestRlimitLastCountsUnprivileged(t *testing.T) {
	for _, args := range [][]string{
		{"-ulimit", "nofile=10", "-ulimit", "nofile=100"},
		{"-virtual-memory-limit", "1G", "-ulimit", "as=2G"},
		{"-ulimit", "sigpending=4097"},
	} {
		opts, err := parseOptions(append(append([]string{"-chroot", "/r"}, args...), "p"))
		if err != nil {
			t.Fatal(err)
		}
		var own unix.Rlimit
		last := opts.rlimits[len(opts.rlimits)-1]
		resource := rlimitKinds[last.name].resource
		if err := unix.Getrlimit(resource, &own); err != nil || own.Max < last.hard {
			t.Logf("%q: own hard limit %d, %v", args, own.Max, err)
			continue
		}
		pid := sleeper(t)
		unprivileged(t, func() {
			for _, l := range rlimitsOf(opts, host{pendingHard: own.Max}) {
				if err := l.set(pid); err != nil {
					t.Errorf("%q: %s=%s: %v", args, l.name, l, err)
				}
			}
		})
		var got unix.Rlimit
		if err := unix.Prlimit(pid, resource, nil, &got); err != nil || got.Max != last.hard {
			t.Errorf("%q: the process has %+v, %v", args, got, err)
		}
	}
}
