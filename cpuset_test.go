package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	tests := []struct {
		in   string
		want cpuSet
		text string
	}{
		{"0", cpuSet{0}, "0"},
		{"1,3", cpuSet{1, 3}, "1,3"},
		{"0,1,2", cpuSet{0, 1, 2}, "0-2"},
		{"0-7", cpuSet{0, 1, 2, 3, 4, 5, 6, 7}, "0-7"},
		{"3,5-7", cpuSet{3, 5, 6, 7}, "3,5-7"},
		{"1,0", cpuSet{0, 1}, "0-1"},
		{"0,0,1,0-1", cpuSet{0, 1}, "0-1"},
		{"5-7,1-3,3-5", cpuSet{1, 2, 3, 4, 5, 6, 7}, "1-7"},
		{"2-2", cpuSet{2}, "2"},
		{"0,2,4", cpuSet{0, 2, 4}, "0,2,4"},
		{"01,00", cpuSet{0, 1}, "0-1"},
		{"8191", cpuSet{8191}, "8191"},
		{strings.Repeat("0,", 1<<20) + "0", cpuSet{0}, "0"},
	}
	for _, test := range tests {
		got, err := parseCPUs(test.in)
		if !slices.Equal(got, test.want) || err != nil {
			t.Errorf("parseCPUs(%s) = %v, %v; want %v", quoted(test.in), got, err, test.want)
		}
		if text := got.String(); text != test.text {
			t.Errorf("parseCPUs(%s).String() = %q, want %q", quoted(test.in), text, test.text)
		}
	}
	if text := (cpuSet)(nil).String(); text != "" {
		t.Errorf("the empty set prints as %q", text)
	}
}

func TestParseCPUsRefuses(t *testing.T) {
	tests := []struct {
		want   string
		inputs []string
	}{
		{"empty list", []string{""}},
		{"empty element in the list", []string{",", "0,,1", "0,", ",0", "0-1,"}},
		{"range 3-1 is reversed", []string{"3-1", "0,3-1", "3-1,x"}},
		{"CPU number too large (at most 8191)", []string{
			"8192", "0-8192", "4294967296", "9223372036854775808", "0-18446744073709551616",
			strings.Repeat("9", 40), strings.Repeat("9", 1<<20),
		}},
		{"not a list of CPUs, such as 1,3 or 0-7", []string{
			"1-", "-1", "-", "0--1", "1-2-3", "-1-2",
			"0 1", "0;1", "0, 1", " 0", "0 ", "0\n1", "0\n", "0\t", "0\x001", "\xff",
			"all", "N", "0-N", "none", "max", "0-1:1/2", "0-31:2/4",
			"0x1", "１", "1.0", "+1", "1e0", "0b1", "1_0", "^1", "!1",
		}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			got, err := parseCPUs(in)
			if err == nil || err.Error() != test.want || got != nil {
				t.Errorf("parseCPUs(%s) = %v, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
}

// A list that fits into one argument must not make a line that does not fit on
// a screen.
func TestParseCPUsErrorIsShort(t *testing.T) {
	for _, in := range []string{strings.Repeat("0", 1<<17) + "3-1", "3-" + strings.Repeat("0", 1<<17) + "1"} {
		if _, err := parseCPUs(in); err == nil || len(err.Error()) > 500 {
			t.Errorf("parseCPUs of %d bytes: no error, or one of %d bytes", len(in), len(text(err)))
		}
	}
}

func TestCPUSetCheck(t *testing.T) {
	host := hostCPUs{possible: cpuSet{0, 1, 2, 3, 4}, online: cpuSet{0, 1, 2, 4}, available: cpuSet{0, 1, 4}}
	tests := []struct {
		set  cpuSet
		want string
	}{
		{nil, ""},
		{cpuSet{0}, ""},
		{cpuSet{0, 1, 4}, ""},
		{cpuSet{99}, "CPU 99 does not exist (available: 0-1,4)"},
		{cpuSet{0, 99}, "CPU 99 does not exist (available: 0-1,4)"},
		{cpuSet{3}, "CPU 3 is offline (available: 0-1,4)"},
		{cpuSet{1, 3, 4}, "CPU 3 is offline (available: 0-1,4)"},
		{cpuSet{2}, "CPU 2 is not available to contain (available: 0-1,4)"},
		{cpuSet{2, 3, 99}, "CPU 2 is not available to contain (available: 0-1,4)"},
	}
	for _, test := range tests {
		if got := text(test.set.check(host)); got != test.want {
			t.Errorf("(%v).check: %q, want %q", test.set, got, test.want)
		}
	}
}

func TestCPUSetOperations(t *testing.T) {
	a, b := cpuSet{0, 1, 2, 5}, cpuSet{1, 5, 7}
	if got := a.minus(b); !slices.Equal(got, cpuSet{0, 2}) {
		t.Errorf("minus: %v", got)
	}
	if got := a.intersect(b); !slices.Equal(got, cpuSet{1, 5}) {
		t.Errorf("intersect: %v", got)
	}
	if got := a.intersect(nil); len(got) != 0 {
		t.Errorf("intersect with nothing: %v", got)
	}
}

func FuzzParseCPUs(f *testing.F) {
	for _, s := range []string{"1,3", "0-7", "3,5-7", "0,0,1,0-1", "3-1", "0\n1", "all", "8191", "0-31:2/4", "01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := parseCPUs(s)
		if err != nil {
			if set != nil {
				t.Errorf("parseCPUs(%q) = %v with error %v", s, set, err)
			}
			return
		}
		if len(set) == 0 || set[0] < 0 || set[len(set)-1] > maxCPU {
			t.Fatalf("parseCPUs(%q) = %v", s, set)
		}
		for i := 1; i < len(set); i++ {
			if set[i-1] >= set[i] {
				t.Fatalf("parseCPUs(%q) = %v: not sorted", s, set)
			}
		}
		again, err := parseCPUs(set.String())
		if err != nil || !slices.Equal(again, set) {
			t.Errorf("parseCPUs(%q): %q is read back as %v, %v", s, set, again, err)
		}
		if strings.Trim(s, "0123456789,-") != "" {
			t.Errorf("parseCPUs(%q) = %v: has other characters", s, set)
		}
	})
}
