// CPU lists. The kernel's own parser (cpuset.cpus) is too generous to check a
// user's list with: it takes "all", "N", ",", "0-31:2/4", and reads "0\n1" as
// CPU 1. So lists are parsed here and printed canonically for the kernel.

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxCPU is the highest CPU number any Linux configuration can have
// (CONFIG_NR_CPUS is at most 8192).
const maxCPU = 8191

// cpuSet is a set of CPU numbers, sorted and without duplicates.
type cpuSet []int

// parseCPUs reads a list such as "1,3", "0-7" or "3,5-7".
func parseCPUs(s string) (cpuSet, error) {
	if s == "" {
		return nil, errors.New("empty list")
	}
	var member [maxCPU + 1]bool
	for elem := range strings.SplitSeq(s, ",") {
		low, high, err := parseCPURange(elem)
		if err != nil {
			return nil, err
		}
		for cpu := low; cpu <= high; cpu++ {
			member[cpu] = true
		}
	}
	var set cpuSet
	for cpu, in := range member {
		if in {
			set = append(set, cpu)
		}
	}
	return set, nil
}

// parseCPURange reads one element of a list, "N" or "N-M".
func parseCPURange(s string) (low, high int, err error) {
	if s == "" {
		return 0, 0, errors.New("empty element in the list")
	}
	first, last, isRange := strings.Cut(s, "-")
	if low, err = parseCPU(first); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return low, low, nil
	}
	if high, err = parseCPU(last); err != nil {
		return 0, 0, err
	}
	if high < low {
		return 0, 0, fmt.Errorf("range %d-%d is reversed", low, high)
	}
	return low, high, nil
}

func parseCPU(s string) (int, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("not a list of CPUs, such as 1,3 or 0-7")
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > maxCPU {
		return 0, fmt.Errorf("CPU number too large (at most %d)", maxCPU)
	}
	return n, nil
}

// String prints the set in the shortest form, such as "0-3,5".
func (s cpuSet) String() string {
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j+1 < len(s) && s[j+1] == s[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(s[i]))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(s[j]))
		}
		i = j + 1
	}
	return b.String()
}

// minus returns the CPUs of s that are not in other.
func (s cpuSet) minus(other cpuSet) cpuSet {
	var rest cpuSet
	for _, cpu := range s {
		if !slices.Contains(other, cpu) {
			rest = append(rest, cpu)
		}
	}
	return rest
}

// intersect returns the CPUs that are in both sets.
func (s cpuSet) intersect(other cpuSet) cpuSet { return s.minus(s.minus(other)) }

// hostCPUs is what the machine has and what this process may hand on.
type hostCPUs struct {
	possible  cpuSet // present or not: /sys/devices/system/cpu/possible
	online    cpuSet
	available cpuSet // online and allowed by the cgroup that ours is made in
}

// check reports, by name, a CPU of the set that the program could not run on.
func (s cpuSet) check(host hostCPUs) error {
	missing := s.minus(host.available)
	if len(missing) == 0 {
		return nil
	}
	cpu := missing[:1]
	reason := "is not available to contain"
	switch {
	case len(cpu.minus(host.possible)) > 0:
		reason = "does not exist"
	case len(cpu.minus(host.online)) > 0:
		reason = "is offline"
	}
	return fmt.Errorf("CPU %s %s (available: %s)", cpu, reason, host.available)
}
