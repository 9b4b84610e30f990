package main

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
)

// fakeCgroup2 is a v2 cgroup made of files.
func fakeCgroup2(t *testing.T, files map[string]string) *cgroup2 {
	t.Helper()
	notOnlyCgroups(t)
	dir := cgroupTree(t, files)
	m, err := fs2.NewManager(&cgroups.Cgroup{Resources: &cgroups.Resources{}}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return &cgroup2{Manager: m, dir: dir}
}

// fakeCgroup1 is a v1 cgroup made of files, in a directory for each controller.
func fakeCgroup1(t *testing.T, files map[string]string, controllers ...string) *cgroup1 {
	t.Helper()
	notOnlyCgroups(t)
	dir, paths := cgroupTree(t, files), map[string]string{}
	for _, controller := range controllers {
		paths[controller] = dir + "/" + controller
	}
	m, err := fs.NewManager(&cgroups.Cgroup{Resources: &cgroups.Resources{}}, paths)
	if err != nil {
		t.Fatal(err)
	}
	return &cgroup1{Manager: m}
}

// notOnlyCgroups has the library read other files too.
func notOnlyCgroups(t *testing.T) {
	cgroups.TestMode = true
	t.Cleanup(func() { cgroups.TestMode = false })
}

var allControllers = []string{"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio"}

func TestSumIO(t *testing.T) {
	tests := []struct {
		in   string
		want ioBytes
	}{
		{"", ioBytes{}},
		{"8:0 \n", ioBytes{}}, // a device with no I/O yet
		{"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n", ioBytes{1, 2, 3, 4}},
		{"8:16 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=50 dios=60\n8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n", ioBytes{11, 22, 33, 44}},
		{"8:0 rbytes=18446744073709551615 wbytes=0 rios=0 wios=0 dbytes=0 dios=0 cost.usage=7 cost.wait=8\n", ioBytes{ReadBytes: 1<<64 - 1}},
	}
	for _, test := range tests {
		if got := *sumIO(test.in); got != test.want {
			t.Errorf("sumIO(%q) = %+v, want %+v", test.in, got, test.want)
		}
	}
}

func TestSumBlkio(t *testing.T) {
	const device = "8:0 Read 1\n8:0 Write 20\n8:0 Sync 300\n8:0 Async 4000\n8:0 Discard 50000\n8:0 Total 21\n"
	tests := []struct {
		in            string
		reads, writes uint64
	}{
		{"", 0, 0},
		{"Total 0\n", 0, 0},
		{device + "Total 21\n", 1, 20},
		{device + "8:16 Read 2\n8:16 Write 30\n8:16 Total 32\nTotal 53\n", 3, 50},
	}
	for _, test := range tests {
		if reads, writes := sumBlkio(test.in); reads != test.reads || writes != test.writes {
			t.Errorf("sumBlkio(%q) = %d, %d; want %d, %d", test.in, reads, writes, test.reads, test.writes)
		}
	}
}

func is(n uint64) *uint64 { return &n }

// same tells whether two values are both none, or the same number.
func same(a, b *uint64) bool { return reflect.DeepEqual(a, b) }

func TestKeyed(t *testing.T) {
	notOnlyCgroups(t)
	dir := cgroupTree(t, map[string]string{"f": "oom 1\noom_kill 3\nzero 0\nempty\nblank \nword max\nnegative -1\nlarge 18446744073709551615\ntwo 1 2\nlast 9"})
	for key, want := range map[string]*uint64{
		"oom": is(1), "oom_kill": is(3), "zero": is(0), "large": is(1<<64 - 1), "last": is(9),
		"kill": nil, "oom_": nil, "OOM": nil, "": nil, "empty": nil, "blank": nil, "word": nil, "negative": nil, "two": nil,
	} {
		if got := keyed(dir, "f", key); !same(got, want) {
			t.Errorf("keyed of %q: %v", key, got)
		}
	}
	t.Chdir(dir)
	for _, at := range []string{"", dir + "/missing"} {
		if keyed(at, "f", "oom") != nil || number(at, "f") != nil {
			t.Errorf("a value without a directory: %q", at)
		}
	}
	if keyed(dir, "missing", "oom") != nil {
		t.Error("a value without a file")
	}
}

func TestNumber(t *testing.T) {
	notOnlyCgroups(t)
	dir := cgroupTree(t, map[string]string{"n": "4096\n", "zero": "0\n", "large": "18446744073709551615\n", "empty": "", "word": "x\n", "two": "1 2\n", "keyed": "a 1\n"})
	for file, want := range map[string]*uint64{
		"n": is(4096), "zero": is(0), "large": is(1<<64 - 1),
		"empty": nil, "word": nil, "two": nil, "keyed": nil, "missing": nil,
	} {
		if got := number(dir, file); !same(got, want) {
			t.Errorf("number of %q: %v", file, got)
		}
	}
}

// v2Files are those of a v2 cgroup, as Linux 6.12 writes them.
var v2Files = map[string]string{
	"cpu.stat": "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnice_usec 0\ncore_sched.force_idle_usec 0\n" +
		"nr_periods 5\nnr_throttled 2\nthrottled_usec 700\nnr_bursts 0\nburst_usec 0\n",
	"memory.peak":      "1048576\n",
	"memory.swap.peak": "8192\n",
	"memory.events":    "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n",
	"pids.peak":        "17\n",
	"io.stat":          "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n",
	"memory.max":       "134217728\n",
	"memory.swap.max":  "0\n",
	"memory.high":      "max\n",
	"memory.oom.group": "1\n",
	"cpuset.cpus":      "\n",
	"cpu.max":          "150000 100000\n",
	"cpu.weight":       "100\n",
	"pids.max":         "4096\n",
	"io.max":           "254:0 rbps=max wbps=1048576 riops=max wiops=max\n7:0 rbps=1 wbps=max riops=max wiops=max\n",
	"memory.min":       "0\n", // no limit, nor a figure
}

func TestFigures2(t *testing.T) {
	want := figures{
		User: is(2000), System: is(1000), Throttled: is(700), MemoryPeak: is(1 << 20), SwapPeak: is(8192),
		OOMKills: is(2), TasksPeak: is(17), IO: &ioBytes{4097, 8194, 4, 6},
	}
	m := fakeCgroup2(t, v2Files)
	if got := readFigures(m); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if got := cpuTimeUsed(m); got != 3*time.Millisecond {
		t.Errorf("CPU time %v", got)
	}
}

// Every figure whose file is missing is none, and none is 0. So it is if the
// kernel has the file, but not the line.
func TestFiguresMissing(t *testing.T) {
	short := map[string]string{"cpu.stat": "usage_usec 1\n", "memory.events": "oom 1\n"} // no controllers; and before 4.13
	if got := readFigures(fakeCgroup2(t, short)); got != (figures{}) {
		t.Errorf("v2 without most lines: %+v", got)
	}
	for name, m := range map[string]cgroups.Manager{
		"v2": fakeCgroup2(t, nil), "v1": fakeCgroup1(t, nil, allControllers...), "v1 without controllers": fakeCgroup1(t, nil), "another manager": mine{},
	} {
		if got := readFigures(m); got != (figures{}) {
			t.Errorf("%s: %+v", name, got)
		}
		if got := cpuTimeUsed(m); got != 0 {
			t.Errorf("%s: CPU time %v", name, got)
		}
		if got := readLimits(m); len(got) != 0 {
			t.Errorf("%s: limits %v", name, got)
		}
	}
}

// The kernel counts the process that it chose twice if it kills the whole cgroup.
func TestOOMKills2(t *testing.T) {
	tests := []struct {
		events string
		want   *uint64
	}{
		{"oom_kill 0\noom_group_kill 0\n", is(0)},
		{"oom_kill 1\noom_group_kill 0\n", is(1)},
		{"oom_kill 3\noom_group_kill 1\n", is(2)},
		{"oom_kill 9\noom_group_kill 3\n", is(6)},
		{"oom_kill 1\noom_group_kill 2\n", is(0)}, // read in between; not 2^64-1
		{"oom_kill 3\n", is(3)},                   // before 5.17
		{"oom_group_kill 1\n", nil},
		{"", nil},
	}
	for _, test := range tests {
		if got := oomKills(fakeCgroup2(t, map[string]string{"memory.events": test.events})); !same(got, test.want) {
			t.Errorf("oomKills of %q: %v", test.events, got)
		}
	}
}

// v1Files are those of a v1 cgroup.
var v1Files = map[string]string{
	"cpu/cpu.stat":                           "nr_periods 5\nnr_throttled 2\nthrottled_time 700999\nnr_bursts 0\nburst_time 0\n",
	"cpuacct/cpuacct.usage":                  "3000999\n",
	"cpuacct/cpuacct.usage_user":             "20000000\n",
	"cpuacct/cpuacct.usage_sys":              "10000000\n",
	"memory/memory.max_usage_in_bytes":       "1048576\n",
	"memory/memory.memsw.max_usage_in_bytes": "2097152\n",
	"memory/memory.oom_control":              "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
	"pids/pids.peak":                         "17\n",
	"blkio/blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 12288\n254:0 Async 0\n254:0 Discard 0\n254:0 Total 12288\n" +
		"7:0 Read 1\n7:0 Write 2\n7:0 Sync 3\n7:0 Async 0\n7:0 Discard 0\n7:0 Total 3\nTotal 12291\n",
	"blkio/blkio.throttle.io_serviced_recursive": "254:0 Read 1\n254:0 Write 2\n254:0 Total 3\n7:0 Read 3\n7:0 Write 4\n7:0 Total 7\nTotal 10\n",
	"memory/memory.limit_in_bytes":               "134217728\n",
	"memory/memory.memsw.limit_in_bytes":         "134217728\n",
	"memory/memory.soft_limit_in_bytes":          "9223372036854771712\n",
	"memory/memory.kmem.tcp.limit_in_bytes":      "134217728\n",
	"cpuset/cpuset.cpus":                         "0-1\n",
	"cpu/cpu.cfs_quota_us":                       "-1\n",
	"cpu/cpu.cfs_period_us":                      "100000\n",
	"cpu/cpu.shares":                             "1024\n",
	"pids/pids.max":                              "4096\n",
	"blkio/blkio.throttle.read_bps_device":       "254:0 1048576\n7:0 1\n",
	"blkio/blkio.throttle.write_bps_device":      "",
	"blkio/blkio.throttle.read_iops_device":      "",
	"blkio/blkio.throttle.write_iops_device":     "254:0 5\n",
	"memory/memory.failcnt":                      "0\n", // no limit, nor a figure
}

func TestFigures1(t *testing.T) {
	want := figures{
		User: is(2000), System: is(1000), Throttled: is(700), MemoryPeak: is(1 << 20), BothPeak: is(2 << 20),
		OOMKills: is(3), TasksPeak: is(17), IO: &ioBytes{4097, 8194, 4, 6},
	}
	m := fakeCgroup1(t, v1Files, allControllers...)
	if got := readFigures(m); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if got := cpuTimeUsed(m); got != 3000999*time.Nanosecond {
		t.Errorf("CPU time %v", got)
	}
}

// The measured time is divided as the ticks were found, and none of it is lost.
func TestCPUTimes1(t *testing.T) {
	tests := []struct {
		sum, inUser, inSystem string
		user, system          *uint64
	}{
		{"3000999\n", "20000000\n", "10000000\n", is(2000), is(1000)},
		{"3000000\n", "0\n", "0\n", is(3000), is(0)}, // ended before a tick
		{"3000000\n", "0\n", "10000000\n", is(0), is(3000)},
		{"1000000\n", "10000000\n", "20000000\n", is(333), is(667)},
		{"0\n", "0\n", "0\n", is(0), is(0)},
		{"", "0\n", "0\n", nil, nil},
		{"1\n", "", "0\n", nil, nil},
		{"1\n", "0\n", "", nil, nil},
	}
	for _, test := range tests {
		m := fakeCgroup1(t, map[string]string{"cpuacct/cpuacct.usage": test.sum, "cpuacct/cpuacct.usage_user": test.inUser, "cpuacct/cpuacct.usage_sys": test.inSystem}, "cpuacct")
		if user, system := m.cpuTimes(); !same(user, test.user) || !same(system, test.system) {
			t.Errorf("%+v: %v, %v", test, user, system)
		}
	}
}

// Bytes and operations are told together or not at all.
func TestFigures1IO(t *testing.T) {
	for _, missing := range []string{"blkio/blkio.throttle.io_service_bytes_recursive", "blkio/blkio.throttle.io_serviced_recursive"} {
		files := maps.Clone(v1Files)
		delete(files, missing)
		if got := fakeCgroup1(t, files, allControllers...).figures(); got.IO != nil {
			t.Errorf("without %s: %+v", missing, *got.IO)
		}
	}
}

// Without the blkio controller these files are not looked for in the working
// directory.
func TestFigures1IOWithoutController(t *testing.T) {
	t.Chdir(cgroupTree(t, map[string]string{
		"blkio.throttle.io_service_bytes_recursive": "8:0 Read 1\n", "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n",
	}))
	if got := fakeCgroup1(t, nil, "memory").figures(); got.IO != nil {
		t.Errorf("figures of the working directory: %+v", *got.IO)
	}
}

// What a controller does not say, the others still do.
func TestFigures1Controllers(t *testing.T) {
	for _, missing := range allControllers {
		var others []string
		for _, controller := range allControllers {
			if controller != missing {
				others = append(others, controller)
			}
		}
		got := fakeCgroup1(t, v1Files, others...).figures()
		for controller, there := range map[string]bool{
			"cpu": got.Throttled != nil, "cpuacct": got.User != nil && got.System != nil, "pids": got.TasksPeak != nil, "blkio": got.IO != nil,
			"memory": got.MemoryPeak != nil && got.BothPeak != nil && got.OOMKills != nil,
		} {
			if there == (controller == missing) {
				t.Errorf("without %s: the figures of %s: %v", missing, controller, there)
			}
		}
	}
}

func TestReadLimits(t *testing.T) {
	v2 := map[string]string{
		"memory.max": "134217728", "memory.swap.max": "0", "memory.high": "max", "memory.oom.group": "1", "cpuset.cpus": "", "cpu.max": "150000 100000",
		"cpu.weight": "100", "pids.max": "4096", "io.max": "254:0 rbps=max wbps=1048576 riops=max wiops=max\n7:0 rbps=1 wbps=max riops=max wiops=max",
	}
	if got := readLimits(fakeCgroup2(t, v2Files)); !maps.Equal(got, v2) {
		t.Errorf("v2:\n got %q\nwant %q", got, v2)
	}
	v1 := map[string]string{
		"memory.limit_in_bytes": "134217728", "memory.memsw.limit_in_bytes": "134217728", "memory.soft_limit_in_bytes": "9223372036854771712",
		"memory.kmem.tcp.limit_in_bytes": "134217728", "cpuset.cpus": "0-1", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000", "cpu.shares": "1024",
		"pids.max": "4096", "blkio.throttle.read_bps_device": "254:0 1048576\n7:0 1", "blkio.throttle.write_bps_device": "",
		"blkio.throttle.read_iops_device": "", "blkio.throttle.write_iops_device": "254:0 5",
	}
	if got := readLimits(fakeCgroup1(t, v1Files, allControllers...)); !maps.Equal(got, v1) {
		t.Errorf("v1:\n got %q\nwant %q", got, v1)
	}
	t.Chdir(cgroupTree(t, map[string]string{"pids.max": "1\n"}))
	if got := readLimits(fakeCgroup1(t, v1Files, "cpuset")); !maps.Equal(got, map[string]string{"cpuset.cpus": "0-1"}) {
		t.Errorf("v1, cpuset alone: %q", got)
	}
}
