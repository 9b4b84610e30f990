// What a cgroup says about the program: what it has used, and its limits as they
// are. What a kernel does not say is left open, never computed from something else.

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fscommon"
)

// figures are what all processes of a program have used together. The names are
// those of the report, contain(8).
type figures struct {
	User       *uint64  `json:"user_us"`
	System     *uint64  `json:"system_us"`
	Throttled  *uint64  `json:"throttled_us"`
	MemoryPeak *uint64  `json:"memory_peak_bytes"`
	SwapPeak   *uint64  `json:"swap_peak_bytes"`
	BothPeak   *uint64  `json:"memory_and_swap_peak_bytes"`
	OOMKills   *uint64  `json:"oom_kills"`
	TasksPeak  *uint64  `json:"tasks_peak"`
	IO         *ioBytes `json:"io"`
	Network    *netUse  `json:"network"`
}

// ioBytes is what was read from and written to block devices.
type ioBytes struct {
	ReadBytes  uint64 `json:"read_bytes"`
	WriteBytes uint64 `json:"write_bytes"`
	Reads      uint64 `json:"reads"`
	Writes     uint64 `json:"writes"`
}

// netUse is what has passed eth0.
type netUse struct {
	ReceivedBytes   uint64 `json:"received_bytes"`
	SentBytes       uint64 `json:"sent_bytes"`
	ReceivedPackets uint64 `json:"received_packets"`
	SentPackets     uint64 `json:"sent_packets"`
}

// readFigures reads what the processes of a cgroup have used.
func readFigures(m cgroups.Manager) figures {
	switch g := m.(type) {
	case *cgroup1:
		return g.figures()
	case *cgroup2:
		return g.figures()
	}
	return figures{}
}

func (m *cgroup2) figures() figures {
	f := figures{
		User:       keyed(m.dir, "cpu.stat", "user_usec"),
		System:     keyed(m.dir, "cpu.stat", "system_usec"),
		Throttled:  keyed(m.dir, "cpu.stat", "throttled_usec"),
		MemoryPeak: number(m.dir, "memory.peak"),
		SwapPeak:   number(m.dir, "memory.swap.peak"),
		TasksPeak:  number(m.dir, "pids.peak"),
		OOMKills:   oomKills(m),
	}
	if text, err := os.ReadFile(filepath.Join(m.dir, "io.stat")); err == nil {
		f.IO = sumIO(string(text))
	}
	return f
}

// sumIO adds up io.stat, a line for each device (cgroup-v2.rst).
func sumIO(text string) *ioBytes {
	sum := new(ioBytes)
	for _, field := range strings.Fields(text) {
		key, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "rbytes":
			sum.ReadBytes += n
		case "wbytes":
			sum.WriteBytes += n
		case "rios":
			sum.Reads += n
		case "wios":
			sum.Writes += n
		}
	}
	return sum
}

func (m *cgroup1) figures() figures {
	f := figures{
		Throttled:  keyed(m.Path("cpu"), "cpu.stat", "throttled_time"),
		MemoryPeak: number(m.Path("memory"), "memory.max_usage_in_bytes"),
		BothPeak:   number(m.Path("memory"), "memory.memsw.max_usage_in_bytes"),
		TasksPeak:  number(m.Path("pids"), "pids.peak"),
		OOMKills:   oomKills(m),
	}
	f.User, f.System = m.cpuTimes()
	if f.Throttled != nil {
		*f.Throttled /= 1000
	}
	dir := m.Path("blkio")
	if dir == "" {
		return f
	}
	size, err1 := os.ReadFile(filepath.Join(dir, "blkio.throttle.io_service_bytes_recursive"))
	count, err2 := os.ReadFile(filepath.Join(dir, "blkio.throttle.io_serviced_recursive"))
	if err1 == nil && err2 == nil {
		f.IO = new(ioBytes)
		f.IO.ReadBytes, f.IO.WriteBytes = sumBlkio(string(size))
		f.IO.Reads, f.IO.Writes = sumBlkio(string(count))
	}
	return f
}

// sumBlkio adds up a v1 file with lines such as "8:0 Read 4096".
func sumBlkio(text string) (reads, writes uint64) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		n, _ := strconv.ParseUint(fields[2], 10, 64)
		switch fields[1] {
		case "Read":
			reads += n
		case "Write":
			writes += n
		}
	}
	return reads, writes
}

// cpuTimes returns the times in user and kernel mode, microseconds. Their sum is
// measured, and divided as the ticks of the clock were found, which is how the
// kernel does it for a process (cputime_adjust, kernel/sched/cputime.c).
func (m *cgroup1) cpuTimes() (user, system *uint64) {
	dir := m.Path("cpuacct")
	sum, inUser, inSystem := number(dir, "cpuacct.usage"), number(dir, "cpuacct.usage_user"), number(dir, "cpuacct.usage_sys")
	if sum == nil || inUser == nil || inSystem == nil {
		return nil, nil
	}
	total, part := *sum/1000, 1.0
	if ticks := *inUser + *inSystem; ticks > 0 {
		part = float64(*inUser) / float64(ticks)
	}
	u := uint64(float64(total) * part)
	s := total - u
	return &u, &s
}

// openUsage opens what says how much CPU time the processes of a cgroup have used,
// at the start of the file, in the unit that it returns.
func openUsage(m cgroups.Manager) (*os.File, time.Duration, error) {
	if g, ok := m.(*cgroup2); ok {
		f, err := os.Open(filepath.Join(g.dir, "cpu.stat"))
		return f, time.Microsecond, err
	}
	f, err := os.Open(filepath.Join(m.Path("cpuacct"), "cpuacct.usage"))
	return f, time.Nanosecond, err
}

// cpuTimeUsed is the CPU time that the processes of a cgroup have used so far.
func cpuTimeUsed(m cgroups.Manager) time.Duration {
	var n *uint64
	unit := time.Nanosecond
	switch g := m.(type) {
	case *cgroup1:
		n = number(g.Path("cpuacct"), "cpuacct.usage")
	case *cgroup2:
		n, unit = keyed(g.dir, "cpu.stat", "usage_usec"), time.Microsecond
	}
	if n == nil {
		return 0
	}
	return time.Duration(*n) * unit
}

// oomKills is how many processes of a cgroup the kernel has killed for want of
// memory. Where it kills the whole cgroup it counts the one that it chose twice
// (oom_kill_process, mm/oom_kill.c).
func oomKills(m cgroups.Manager) *uint64 {
	dir := m.Path("memory")
	if g, ok := m.(*cgroup2); ok {
		kills, groups := keyed(g.dir, "memory.events", "oom_kill"), keyed(g.dir, "memory.events", "oom_group_kill")
		if kills != nil && groups != nil {
			*kills -= min(*groups, *kills)
		}
		return kills
	}
	return keyed(dir, "memory.oom_control", "oom_kill")
}

// limitFiles are the files of a cgroup that hold limits: on v1 with the controller
// of each.
var (
	limitFiles2 = []string{"memory.max", "memory.swap.max", "memory.high", "memory.oom.group",
		"cpuset.cpus", "cpu.max", "cpu.weight", "pids.max", "io.max"}
	limitFiles1 = [][2]string{
		{"memory", "memory.limit_in_bytes"}, {"memory", "memory.memsw.limit_in_bytes"},
		{"memory", "memory.soft_limit_in_bytes"}, {"memory", "memory.kmem.tcp.limit_in_bytes"},
		{"cpuset", "cpuset.cpus"}, {"cpu", "cpu.cfs_quota_us"}, {"cpu", "cpu.cfs_period_us"}, {"cpu", "cpu.shares"},
		{"pids", "pids.max"},
		{"blkio", "blkio.throttle.read_bps_device"}, {"blkio", "blkio.throttle.write_bps_device"},
		{"blkio", "blkio.throttle.read_iops_device"}, {"blkio", "blkio.throttle.write_iops_device"},
	}
)

// readLimits returns the contents of those that there are, by name.
func readLimits(m cgroups.Manager) map[string]string {
	found := map[string]string{}
	read := func(dir, file string) {
		if dir == "" {
			return
		}
		if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			found[file] = strings.TrimSpace(string(text))
		}
	}
	switch g := m.(type) {
	case *cgroup1:
		for _, f := range limitFiles1 {
			read(g.Path(f[0]), f[1])
		}
	case *cgroup2:
		for _, f := range limitFiles2 {
			read(g.dir, f)
		}
	}
	return found
}

// number reads a file that is one number; nil if it is not there.
func number(dir, file string) *uint64 {
	if dir == "" {
		return nil
	}
	n, err := fscommon.GetCgroupParamUint(dir, file)
	if err != nil {
		return nil
	}
	return &n
}

// keyed reads the number behind a key in a file; nil if it is not there. (The
// library's GetValueByKey gives 0 then.)
func keyed(dir, file, key string) *uint64 {
	if dir == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); name == key && err == nil {
			return &n
		}
	}
	return nil
}
