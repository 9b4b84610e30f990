// Limits other than sizes, CPU lists and addresses: numbers and durations as users
// write them. Each is parsed strictly: a limit that was misread is none.

package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// limits are what the program may use. Zero values are no limits, but for grace.
type limits struct {
	memory     int64 // bytes, with swap
	memorySoft int64 // bytes: above it memory is reclaimed first
	cpus       cpuSet
	cpuQuota   int64  // of CPU time in each cpuPeriod, microseconds
	cpuWeight  uint64 // 1 to 10000, 100 is everybody's
	pids       int64
	rlimits    []rlimit
	io         []ioLimit
	bandwidth  bandwidth
	wall       time.Duration // from the program's start
	grace      time.Duration // between SIGTERM and SIGKILL
	cpuTime    time.Duration // of all processes together
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

// parseCPUCount reads a number of CPUs such as 1.5 and returns how many
// microseconds of CPU time they give in each cpuPeriod.
func parseCPUCount(s string) (int64, error) {
	n, err := parseNumber(s, "a number of CPUs, such as 1.5")
	switch quota := int64(math.Round(n * cpuPeriod)); {
	case err != nil:
		return 0, err
	case n > maxCPU+1:
		return 0, errors.New("too large")
	case quota < cpuPeriod/100: // min_cfs_quota_period, kernel/sched/core.c
		return 0, errors.New("too small, the least is 0.01")
	default:
		return quota, nil
	}
}

// maxTasks is the highest number of processes and threads of a Linux machine
// (PID_MAX_LIMIT).
const maxTasks = 1 << 22

func parseTasks(s string) (int64, error) {
	return parseCount(s, maxTasks, "a number of tasks, such as 100")
}

func parseWeight(s string) (uint64, error) {
	n, err := parseCount(s, 10000, "a weight from 1 to 10000")
	return uint64(n), err
}

// parseCount reads a whole number from 1 to most.
func parseCount(s string, most int64, what string) (int64, error) {
	if !isWhole(s) {
		return 0, errors.New("not " + what)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n > most:
		return 0, fmt.Errorf("too large, the most is %d", most)
	case n == 0:
		return 0, errors.New("too small, the least is 1")
	}
	return n, nil
}

// isWhole tells whether s is digits and nothing else.
func isWhole(s string) bool { return s != "" && strings.Trim(s, digits) == "" }

const digits = "0123456789"

// cutNumber cuts s after the decimal number, without sign or exponent, that it begins
// with; number is empty if it begins with none. Regular expressions, which would say the
// same, are compiled at every start, and in the init once more: 0.9 ms each (measured).
func cutNumber(s string) (number, rest string) {
	count := func(s string) int { return len(s) - len(strings.TrimLeft(s, digits)) }
	n := count(s)
	if n > 0 && strings.HasPrefix(s[n:], ".") {
		if places := count(s[n+1:]); places > 0 {
			n += 1 + places
		}
	}
	return s[:n], s[n:]
}

// parseNumber reads a decimal number without sign or exponent.
func parseNumber(s, what string) (float64, error) {
	if number, rest := cutNumber(s); number == "" || rest != "" {
		return 0, errors.New("not " + what)
	}
	if len(s) > 40 { // ParseFloat would take its time over a megabyte of digits
		return 0, errors.New("too large")
	}
	return strconv.ParseFloat(s, 64)
}

// maxDuration is far enough below that of time.Duration for no sum to overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// parseDuration reads a time such as 30s, 1.5m or 90: a number and one unit,
// without one seconds, as timeout(1) takes them.
func parseDuration(s string) (time.Duration, error) {
	number, unit := cutNumber(s)
	length, known := map[string]time.Duration{"ms": time.Millisecond, "": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	if number == "" || !known {
		return 0, errors.New("not a time, such as 30s (units: ms, s, m, h, d)")
	}
	n, err := parseNumber(number, "a time")
	if err != nil || n*float64(length) > float64(maxDuration) {
		return 0, errors.New("too large")
	}
	return time.Duration(math.Round(n * float64(length))), nil
}

// parseTimeLimit reads a time that is not zero.
func parseTimeLimit(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d < time.Millisecond {
		return 0, errors.New("too small, the least is 1ms (leave the flag out for no limit)")
	}
	return d, err
}
