package main

import (
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestParseMemory(t *testing.T) {
	page := os.Getpagesize()
	tests := []struct {
		in   string
		want int64
	}{
		{"128M", 134217728},
		{"128m", 134217728},
		{"128MB", 134217728},
		{"128mb", 134217728},
		{"128MiB", 134217728},
		{"128 M", 134217728},
		{"128 MiB", 134217728},
		{"134217728", 134217728},
		{"134217728B", 134217728},
		{"134217728b", 134217728},
		{"1MB", 1 << 20},
		{"1024K", 1 << 20},
		{"1.5G", 3 << 29},
		{"0.5M", 1 << 19},
		{"0128M", 134217728},
		{"2T", 2 << 40},
		{"3PiB", 3 << 50},
		{strconv.Itoa(page), int64(page)},
		{"1024P", maxSize},
		{strconv.Itoa(maxSize), maxSize},
	}
	for _, test := range tests {
		got, err := parseMemory(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseMemory(%q) = %d, %v; want %d", test.in, got, err, test.want)
		}
	}
}

func TestParseMemoryRefuses(t *testing.T) {
	tests := []struct {
		want   string
		inputs []string
	}{
		{"empty size", []string{""}},
		{"must be greater than zero (leave the flag out for no limit)", []string{"0", "00", "0.0", "0M", "0 B", "0P"}},
		{"must not be negative", []string{"-1", "-1M", "-0", "-128 MiB"}},
		{"below one byte", []string{"0.4", "0.5B"}},
		{"below one page of memory", []string{"1", "0.001K", "1K", strconv.Itoa(os.Getpagesize() - 1)}},
		{"too large", []string{
			"9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
			"99999999P", "1025P", "8192P", "16384P", "1152921504606848000",
			strings.Repeat("9", 41), strings.Repeat("9", 1<<20) + "M",
		}},
		{"unknown unit (known: B, K, M, G, T, P)", []string{"8E", "8EiB", "128Q", "1Z", "1Y", "128MBB", "128Mi", "128iB", "128BM", "50%"}},
		{"not a size, such as 128M", []string{
			"abc", "M", "max", "NaN", "Inf", "infinity", "unlimited", "-", "-M", "-max",
			"0x10", "0x10M", "1e3", "1E3", "1_000", "+5M", ".5M", "1.", "1.M", "12,5M", "1.2.3M", "1..5M",
			" ", " 128M", "128M ", "128 ", "128  M", "128\tM", "128M\n", "\n128M", "128\x00M", "128M\x00",
			"١٢٨M", "１２８M", "128М" /* Cyrillic */, "128\xffM", "128M 128M",
		}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			got, err := parseMemory(in)
			if err == nil || err.Error() != test.want || got != 0 {
				t.Errorf("parseMemory(%s) = %d, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
}

// The oracle is exact arithmetic; float64, which go-units uses, may differ
// from it by one byte and by its own precision.
func FuzzParseMemory(f *testing.F) {
	for _, s := range []string{"128M", "1.5G", "128 MiB", "65536", "0.4", "99999999P", "1e9", "-1", "1.2.3M", "0.3GB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseMemory(s)
		if err != nil {
			if got != 0 {
				t.Errorf("parseMemory(%q) = %d with error %v", s, got, err)
			}
			return
		}
		if got < int64(os.Getpagesize()) || got > maxSize {
			t.Fatalf("parseMemory(%q) = %d: no limit to give to a cgroup", s, got)
		}
		number := strings.TrimRight(s, " kKmMgGtTpPiIbB")
		want, ok := new(big.Rat).SetString(number)
		if !ok || strings.Trim(number, "0123456789.") != "" {
			t.Fatalf("parseMemory(%q) = %d: not a decimal number", s, got)
		}
		unit := strings.ToUpper(strings.TrimSpace(s[len(number):]))
		if unit != "" && unit != "B" {
			power := 1 + strings.IndexByte("KMGTP", unit[0])
			want.Mul(want, new(big.Rat).SetInt64(1<<(10*power)))
		}
		exact, _ := want.Float64()
		if diff := exact - float64(got); diff < -exact/(1<<52)-1 || diff > exact/(1<<52)+1 {
			t.Errorf("parseMemory(%q) = %d, want %f", s, got, exact)
		}
	})
}
