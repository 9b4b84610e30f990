// Sizes as users write them: docker/go-units, guarded. Alone it is unsafe for
// a limit: it returns a negative number for 99999999P and 0 for 0.4, both of
// which mean "no limit" to a cgroup, and it takes 1e3, +5M and 1_000.

package main

import (
	"errors"
	"os"
	"strings"

	"github.com/docker/go-units"
)

// maxSize is 1 EiB: beyond any machine, and far enough below 2^63 that the
// float64 arithmetic of go-units cannot have overflowed.
const maxSize = 1 << 60

// isSizeUnit tells whether go-units takes s for a unit, after a number.
func isSizeUnit(s string) bool {
	s = strings.TrimPrefix(s, " ")
	if s != "" && strings.Contains("kKmMgGtTpP", s[:1]) {
		s = s[1:]
		if len(s) == 2 && strings.Contains("iI", s[:1]) {
			s = s[1:]
		}
	}
	return s == "" || s == "b" || s == "B"
}

// parseMemory reads a size of memory, which is a page at least.
func parseMemory(s string) (int64, error) {
	n, err := parseSize(s)
	if err == nil && n < int64(os.Getpagesize()) {
		return 0, errors.New("below one page of memory")
	}
	return n, err
}

// parseSize reads a size such as 128M, 128MB or 128MiB (all 134217728 bytes), 1.5G
// or 65536, and returns bytes.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, errors.New("empty size")
	}
	if number, _ := cutNumber(strings.TrimPrefix(s, "-")); number != "" && s[0] == '-' {
		return 0, errors.New("must not be negative")
	}
	number, unit := cutNumber(s)
	switch {
	case number == "":
		return 0, errors.New("not a size, such as 128M")
	case !isSizeUnit(unit):
		if strings.Trim(unit, " kKmMgGtTpPeEzZyYqQiIbB%") == "" && !strings.ContainsAny(unit[1:], " ") {
			return 0, errors.New("unknown unit (known: B, K, M, G, T, P)")
		}
		return 0, errors.New("not a size, such as 128M")
	case unit == " ":
		return 0, errors.New("not a size, such as 128M")
	}
	// A number this long cannot be a size that fits; ParseFloat inside
	// go-units would still take its time over a megabyte of digits.
	if len(number) > 40 {
		return 0, errors.New("too large")
	}
	n, err := units.RAMInBytes(s)
	switch {
	case err != nil:
		return 0, errors.New("not a size, such as 128M")
	case n < 0 || n > maxSize:
		return 0, errors.New("too large")
	case n == 0 && strings.Trim(number, "0.") == "":
		return 0, errors.New("must be greater than zero (leave the flag out for no limit)")
	case n == 0:
		return 0, errors.New("below one byte")
	}
	return n, nil
}
