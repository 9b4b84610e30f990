package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// decodeReport reads a report, which is one line of JSON.
func decodeReport(t *testing.T, line []byte) map[string]any {
	t.Helper()
	if !bytes.HasSuffix(line, []byte("}\n")) || bytes.Count(line, []byte("\n")) != 1 {
		t.Errorf("not one line: %q", line)
	}
	members := map[string]any{}
	if err := json.Unmarshal(line, &members); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	return members
}

// reportOf writes the report of r to a file and reads it.
func reportOf(t *testing.T, r *record, st status, err error) map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report")
	if err := then(r.open(file), r.write(st, err)); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return decodeReport(t, line)
}

// descriptor returns a duplicate of f's, which is its holder's to close, as one
// that contain inherits.
func descriptor(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// A report goes to a descriptor of the caller's, which the program does not get.
func TestRecordOpenDescriptor(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	fd := descriptor(t, to)
	to.Close()
	var r record
	if err := r.open(fmt.Sprintf("fd:%d", fd)); err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the program gets the descriptor: flags %#x, %v", flags, err)
	}
	if err := r.write(status{cause: causeExited}, nil); err != nil {
		t.Error(err)
	}
	_ = from.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := io.ReadAll(from) // to the end: the descriptor is closed
	if err != nil {
		t.Error(err)
	}
	if got := decodeReport(t, line); got["cause"] != "exited" {
		t.Errorf("%v", got)
	}
}

func TestRecordOpenRefusesDescriptor(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	defer to.Close()
	path, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(path)
	const syntax = "not a descriptor, such as fd:3"
	tests := map[string]string{
		fmt.Sprint(from.Fd()): "not open for writing",
		fmt.Sprint(path):      "not open for writing",
		"99999":               "bad file descriptor",
		"2147483647":          "bad file descriptor",
		"9223372036854775808": syntax, "18446744073709551617": syntax, "x": syntax, "3x": syntax, "3\n": syntax,
	}
	for _, number := range notWhole {
		tests[number] = syntax
	}
	for number, want := range tests {
		var r record
		want = "-report " + quoted("fd:"+number) + ": " + want
		if err := r.open("fd:" + number); text(err) != want || r.wanted {
			t.Errorf("open: %v, %v; want %s", r.wanted, err, want)
		}
	}
}

// The kernel looks at the low 32 bits of a descriptor's number only.
func TestRecordOpenLargeDescriptor(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := descriptor(t, null)
	var r record
	to := fmt.Sprintf("fd:%d", 1<<32+fd)
	if err := r.open(to); err == nil {
		t.Errorf("%s is taken for fd:%d", to, fd)
		unix.Close(r.fd)
		return
	}
	unix.Close(fd)
}

func TestRecordOpenFile(t *testing.T) {
	dir := t.TempDir()
	for name, before := range map[string]string{"new": "", "old": strings.Repeat("old\n", 10000), "fd": "x", "FD:1": "x", " fd:1": "x"} {
		file := filepath.Join(dir, name)
		if before != "" {
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var r record
		if err := r.open(file); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(file); err != nil || len(after) > 0 {
			t.Errorf("%s has %d bytes before the report, %v", name, len(after), err)
		}
		if err := r.write(status{}, nil); err != nil {
			t.Error(err)
		}
		line, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decodeReport(t, line)
	}
	for path, want := range map[string]string{
		dir: "is a directory", dir + "/a/b": "no such file or directory", dir + "/new/b": "not a directory", dir + "/a\x00b": "invalid argument",
	} {
		var r record
		want = "-report " + quoted(path) + ": " + want
		if err := r.open(path); text(err) != want {
			t.Errorf("open: %v, want %s", err, want)
		}
	}
}

// Without -report nothing is opened, and nothing written.
func TestRecordOpenNothing(t *testing.T) {
	var r record
	if err := r.open(""); err != nil || r.wanted {
		t.Errorf("open: %v, %v", r.wanted, err)
	}
	if err := r.write(status{cause: causeExited}, errors.New("x")); err != nil {
		t.Error(err)
	}
	r.look(nil) // has nothing to look for
}

// A report that cannot be written is an error.
func TestRecordWriteFails(t *testing.T) {
	var r record
	if err := r.open("/dev/full"); err != nil {
		t.Skip(err)
	}
	want := "write the report: no space left on device"
	if err := r.write(status{cause: causeExited}, nil); text(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestRecordWrite(t *testing.T) {
	tests := []struct {
		st                 status
		err                error
		cause              string
		status             float64
		exit, signal, text any
	}{
		{status{cause: causeExited}, nil, "exited", 0, 0.0, nil, nil},
		{status{code: 3, cause: causeExited}, nil, "exited", 3, 3.0, nil, nil},
		{status{code: 125, cause: causeExited}, nil, "exited", 125, 125.0, nil, nil},
		{status{code: 255, cause: causeExited}, errors.New("clean up: x"), "exited", 255, 255.0, nil, "clean up: x"},
		{status{signal: 15, cause: causeSignal}, nil, "signal", 143, nil, 15.0, nil},
		{status{signal: 64, typed: true, cause: causeSignal}, nil, "signal", 192, nil, 64.0, nil},
		{status{signal: 9, cause: causeSignal}, errors.New("the host lacks memory"), "signal", 137, nil, 9.0, "the host lacks memory"},
		{status{signal: 9, cause: causeOOM}, errors.New("memory limit exceeded"), "oom", 137, nil, 9.0, "memory limit exceeded"},
		{status{code: 124, cause: causeTimeout}, errors.New("time limit"), "timeout", 124, nil, nil, "time limit"},
		{status{code: 124, cause: causeCPUTime}, errors.New("CPU time limit"), "cpu-time", 124, nil, nil, "CPU time limit"},
		{failed, errors.New("x"), "contain", 125, nil, nil, "x"},
		{statusOf(cannotExec("x")), cannotExec("x"), "contain", 126, nil, nil, "x"},
		{statusOf(notFound("x")), withHint(notFound("x"), "do y"), "contain", 127, nil, nil, "x"},
	}
	for _, test := range tests {
		got := reportOf(t, new(record), test.st, test.err)
		want := map[string]any{"cause": test.cause, "status": test.status, "exit": test.exit, "signal": test.signal, "error": test.text, "schema": 1.0}
		for name, value := range want {
			if given, there := got[name]; !there || given != value {
				t.Errorf("%+v, %v: %s is %v, want %v", test.st, test.err, name, given, value)
			}
		}
	}
}

// The error is the line on standard error. Nothing in it makes a second line of the
// report, or something else than JSON.
func TestRecordWriteError(t *testing.T) {
	for _, in := range []string{
		"plain", "two\nlines", "ends\n", "\r\x00\x1b[2K\x7f", `"quoted" \ {}`, "<&>", "é 日本", "\u2028\u2029\u0085", "\xff\xfe\xed\xa0\x80", "", strings.Repeat("x\n", 1<<16),
	} {
		got := reportOf(t, new(record), failed, errors.New(in))["error"]
		var stderr bytes.Buffer
		report(&stderr, errors.New(in))
		if line := strings.TrimSuffix(strings.TrimPrefix(stderr.String(), "contain: "), "\n"); got != line {
			t.Errorf("%.50q: the report has %.50q, standard error %.50q", in, got, line)
		}
	}
}

// Names that come from the user are no danger to the report either.
func TestRecordWriteNames(t *testing.T) {
	for _, name := range []string{"\n", "\xff", "\x00\x1b", `"`, "\u2028"} {
		r := &record{ID: &name, Applied: map[string]string{name: name}}
		r.ask(options{limits: limits{io: []ioLimit{{device: name}}}})
		reportOf(t, r, status{cause: causeExited}, nil)
	}
}

// everyLimit is a command line with each limit.
var everyLimit = []string{
	"-chroot", "/r", "-memory-limit", "128M", "-memory-soft-limit", "64M", "-virtual-memory-limit", "1G", "-ulimit", "nofile=10:20", "-ulimit", "nproc=unlimited",
	"-cpu-core-ids", "0-1,3", "-cpus", "1.5", "-cpu-weight", "50", "-pids-limit", "7", "-io-max", "8:0:rbps=5,wiops=4", "-io-max", "/dev/sdb:wbps=2,riops=3",
	"-network-address", "10.0.0.2/24", "-network-bandwidth", "10mbit/down:1mbit/up", "-timeout", "1.5s", "-grace", "250ms", "-cpu-time", "1m", "p",
}

func TestRecordAsk(t *testing.T) {
	const none = `{"memory_bytes":null,"memory_soft_bytes":null,"cpu_core_ids":null,"cpus":null,"cpu_weight":null,"pids":4096,"ulimits":{},` +
		`"io_max":[],"network_bandwidth":null,"timeout_us":null,"grace_us":null,"cpu_time_us":null}`
	every := `{"memory_bytes":134217728,"memory_soft_bytes":67108864,"cpu_core_ids":"0-1,3","cpus":1.5,"cpu_weight":50,"pids":7,` +
		`"ulimits":{"as":"1073741824:1073741824","nofile":"10:20","nproc":"unlimited:unlimited"},` +
		`"io_max":[{"device":"8:0","rbps":5,"wbps":null,"riops":null,"wiops":4},{"device":"/dev/sdb","rbps":null,"wbps":2,"riops":3,"wiops":null}],` +
		`"network_bandwidth":{"down_bits_per_second":10000000,"up_bits_per_second":1000000},"timeout_us":1500000,"grace_us":250000,"cpu_time_us":60000000}`
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"-chroot", "/r", "p"}, none},
		{[]string{"-chroot", "/r", "-grace", "1s", "p"}, none}, // of nothing
		{everyLimit, every},
		{[]string{"-chroot", "/r", "-timeout", "1ms", "-grace", "0", "p"},
			strings.Replace(none, `"timeout_us":null,"grace_us":null`, `"timeout_us":1000,"grace_us":0`, 1)},
		{[]string{"-chroot", "/r", "-cpu-time", "1s", "p"},
			strings.Replace(none, `"grace_us":null,"cpu_time_us":null`, `"grace_us":5000000,"cpu_time_us":1000000`, 1)},
		{[]string{"-chroot", "/r", "-ulimit", "nofile=1", "-ulimit", "nofile=2", "p"}, strings.Replace(none, `{}`, `{"nofile":"2:2"}`, 1)},
	}
	for _, test := range tests {
		opts, err := parseOptions(test.args)
		if err != nil {
			t.Fatal(err)
		}
		var r record
		r.ask(opts)
		if got, err := json.Marshal(r.Limits); string(got) != test.want {
			t.Errorf("%q: %v\n got %s\nwant %s", test.args, err, got, test.want)
		}
	}
}

// Of a program that did not run, nothing is told that it has used.
func TestRecordLook(t *testing.T) {
	for _, test := range []struct {
		ended bool
		start time.Time
	}{{false, time.Time{}}, {true, time.Time{}}, {false, time.Now()}} {
		r := record{Stage: stageSetup}
		c := &container{id: "0a1b2c3d", cgroup: fakeCgroup2(t, v2Files), endedAt: test.start}
		c.ended.Store(test.ended)
		r.wanted, r.fd = true, 1
		r.look(c)
		if *r.ID != "0a1b2c3d" || r.Stage != stageSetup || r.Wall != nil || r.figures != (figures{}) || r.Found != nil {
			t.Errorf("ended %v, %v: %+v", test.ended, test.start, r)
		}
	}
	c := &container{id: "0a1b2c3d", cgroup: fakeCgroup2(t, v2Files), applied: map[string]string{"a": "b"}, startedAt: time.Now()}
	c.endedAt = c.startedAt.Add(1500 * time.Microsecond)
	c.ended.Store(true)
	r := record{wanted: true, fd: 1, Stage: stageExec}
	r.look(c)
	if *r.ID != "0a1b2c3d" || r.Stage != stageRun || *r.Wall != 1500 || *r.TasksPeak != 17 || r.Applied["a"] != "b" || r.Found["pids.max"] != "4096" {
		t.Errorf("%+v", r)
	}
}

// keysOf adds to keys the names of all members below value, but for those that are
// no members of the report's own.
func keysOf(value any, keys map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if keys[key] = true; key != "ulimits" && key != "limits_applied" && key != "limits_found" {
				keysOf(member, keys)
			}
		}
	case []any:
		for _, member := range v {
			keysOf(member, keys)
		}
	}
}

// contain.8 explains every member, and none that is not there.
func TestReportIsDocumented(t *testing.T) {
	opts, err := parseOptions(everyLimit)
	if err != nil {
		t.Fatal(err)
	}
	r := record{figures: figures{IO: new(ioBytes), Network: new(netUse)}}
	r.ask(opts)
	members := reportOf(t, &r, failed, nil)
	keys := map[string]bool{}
	keysOf(members, keys)
	_, section, _ := strings.Cut(document(t, "contain.8"), "\n.Sh REPORT\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	for key := range keys {
		if !regexp.MustCompile(`(?m)^\.(.* )?Cm (.* )?` + key + `( |$)`).MatchString(section) {
			t.Errorf("contain.8 lacks %s", key)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm (.*)$`).FindAllStringSubmatch(section, -1) {
		for _, key := range strings.Split(m[1], " , ") {
			if _, there := members[key]; !there {
				t.Errorf("contain.8 explains %q, which no report has: %v", key, slices.Sorted(maps.Keys(members)))
			}
		}
	}
}

// A wrong command line is reported too, with all that is not known as null.
func TestRunReportsBadArguments(t *testing.T) {
	defer func(v string) { version = v }(version)
	version = "v1.2.3"
	file := filepath.Join(t.TempDir(), "report")
	for _, args := range [][]string{
		{"-report", file, "-chroot", "/r", "-foo", "p"}, {"-foo", "-report", file, "p"}, {"-foo", "-version", "-report", file}, {"-report", file},
		{"-report", file, "-chroot", "/r", "-timeout", "0", "p"}, {"-report", file, "-report", file, "-chroot", "/r"},
	} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		st, runErr := run(args, io.Discard)
		line, err := os.ReadFile(file)
		if err != nil || st != failed {
			t.Errorf("run(%q) = %+v, %v; %v", args, st, runErr, err)
			continue
		}
		got := decodeReport(t, line)
		want := map[string]any{"schema": 1.0, "contain": "v1.2.3", "stage": "usage", "cause": "contain", "status": 125.0, "error": text(runErr)}
		for name := range got {
			if _, there := want[name]; !there {
				want[name] = nil
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("run(%q)\n got %v\nwant %v", args, got, want)
		}
	}
	st, err := run([]string{"-foo", "-report", "/nonexistent/report"}, io.Discard)
	if want := `flag provided but not defined: -foo; then: -report "/nonexistent/report": no such file or directory`; st != failed || text(err) != want {
		t.Errorf("%+v, %v; want %s", st, err, want)
	}
}

// mistakes are flags that cannot be parsed. None takes the next argument.
var mistakes = []string{
	"-foo", "--foo", "-foo=1", "---x", "---", "----report", "-=", "-=x", "--=", "--=x", "---=", "-init=maybe", "--version=2", "-é", "-\xff", "-\n", "- ",
}

// A -report is found before and behind any mistakes, and the reading ends.
func TestReadOn(t *testing.T) {
	var lines [][]string
	for _, a := range mistakes {
		lines = append(lines, []string{a})
		for _, b := range append([]string{"-chroot=/r", "-init", "-h", "-version"}, mistakes...) {
			lines = append(lines, []string{a, b}, []string{a, b, a}, []string{a, a, b})
		}
	}
	for _, line := range lines {
		behind := slices.Concat(line, []string{"-report", "fd:3", "p"})
		before := slices.Concat([]string{"-report", "fd:3"}, line, []string{"p"})
		between := slices.Concat(line, []string{"-report=fd:3"}, line)
		last := slices.Concat([]string{"-report=x"}, line, []string{"-report", "y"}, line, []string{"--report=fd:3", "--", "p"})
		for _, args := range [][]string{behind, before, between, last} {
			opts, err := parseInTime(t, args)
			if err == nil || opts.report != "fd:3" {
				t.Errorf("parseOptions(%q): report %q, %v", args, opts.report, err)
			}
		}
	}
}

// What follows the program, or what could be it, is not contain's.
func TestReadOnStops(t *testing.T) {
	for _, args := range [][]string{
		{"-foo", "p", "-report", "x"}, {"-foo", "--", "-report", "x"}, {"-foo", "-", "-report", "x"}, {"-foo", "", "-report", "x"},
		{"---x", "--", "-report", "x"}, {"---x", "p", "-report", "x"}, {"-=", "p", "-report", "x"}, {"-init=maybe", "-bridge", "-report", "x", "-report", "y"},
		{"-report"}, {"-foo", "-report"}, {"---x", "-report"}, {"-foo", "-chroot", "-report"}, {"-foo", "-timeout"}, {"-foo", "-report="},
	} {
		if opts, err := parseInTime(t, args); err == nil || opts.report != "" {
			t.Errorf("parseOptions(%q): report %q, %v", args, opts.report, err)
		}
	}
}

// parseInTime is parseOptions, for what might not end.
func parseInTime(t *testing.T, args []string) (opts options, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		opts, err = parseOptions(args)
	}()
	select {
	case <-done:
		return opts, err
	case <-time.After(10 * time.Second):
		t.Fatalf("parseOptions(%q) does not end", args)
		panic("not reached")
	}
}
