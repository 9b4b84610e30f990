// What the machine says about itself.

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// machineTime returns how much CPU time the machine has used since its start, and how
// much it had.
func machineTime() (busy, all time.Duration) {
	const tick = time.Second / 100 // USER_HZ
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseInt(field, 10, 64)
		switch i {
		case 3, 4: // idle, iowait
		case 8, 9: // guest: in user already
			continue
		default:
			busy += time.Duration(n) * tick
		}
		all += time.Duration(n) * tick
	}
	return busy, all
}

// ownTime is what this process and its children have used.
func ownTime() (used time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			used += timeOf(u)
		}
	}
	return used
}

// availableMemory is what programs can still get, in bytes.
func availableMemory() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// kernel and processors, for the report.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	model, count := "", 0
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "processor":
			count++
		case "model name":
			model = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%d of %s", count, model)
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
