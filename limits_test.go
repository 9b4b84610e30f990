package main

import (
	"math/big"
	"strings"
	"testing"
	"time"
)

// notPlain are no numbers to any of the parsers: no sign, no exponent, no other
// base, no space around them, no digits but 0 to 9.
var notPlain = []string{
	"", " ", " 1", "1 ", "\t1", "1\n", "\n1", "1\x00", "+1", "-1", "-0", "1e3", "1E3", "0x1", "0X1p4", "0b1", "0o7", "1_0",
	".", ".5", "1.", "1..5", "1.5.0", "1,5", "NaN", "nan", "Inf", "inf", "infinity", "max", "unlimited",
	"١", "１", "１５", "1\xff", "½", "1/2", "50%", "1 1", "--",
}

// notWhole are further ones where no fraction is allowed.
var notWhole = append([]string{"1.0", "0.5", "1.5", "1s", "1K"}, notPlain...)

var (
	digits41 = strings.Repeat("9", 41)
	digits1M = strings.Repeat("9", 1<<20)
)

func TestParseCPUCount(t *testing.T) {
	tests := []struct {
		in   string
		want int64 // microseconds in each 100 ms
	}{
		{"1", 100000},
		{"1.5", 150000},
		{"0.01", 1000},
		{"00.0100", 1000},
		{"0.5", 50000},
		{"007", 700000},
		{"0.29", 29000}, // 28999.999999999996 in float64
		{"0.333333333333", 33333},
		{"0.66666666", 66667},
		{"2.00001", 200001},
		{"64", 6400000},
		{"8192", 819200000},
		{"1." + strings.Repeat("0", 38), 100000},
	}
	for _, test := range tests {
		got, err := parseCPUCount(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseCPUCount(%q) = %d, %v; want %d", test.in, got, err, test.want)
		}
	}
}

func TestParseCPUCountRefuses(t *testing.T) {
	tests := []struct {
		want   string
		inputs []string
	}{
		{"not a number of CPUs, such as 1.5", append([]string{"1s", "1m", "100m", "0-3", "1,3", "all"}, notPlain...)},
		{"too small, the least is 0.01", []string{"0", "00", "0.0", "0.001", "0.00994", "0." + strings.Repeat("0", 37) + "1"}},
		{"too large", []string{
			"8192.1", "8193", "99999", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
			"92233720368547.75807", "92233720368547.75808", strings.Repeat("9", 40), digits41, digits1M, "1." + digits1M,
			"1." + strings.Repeat("0", 39), // such a number is not looked at
		}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			got, err := parseCPUCount(in)
			if text(err) != test.want || got != 0 {
				t.Errorf("parseCPUCount(%s) = %d, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
}

func TestParseTasks(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "100": 100, "0100": 100, "4096": 4096, "4194304": 4194304, strings.Repeat("0", 1<<20) + "7": 7} {
		if got, err := parseTasks(in); got != want || err != nil {
			t.Errorf("parseTasks(%s) = %d, %v; want %d", quoted(in), got, err, want)
		}
	}
	tests := []struct {
		want   string
		inputs []string
	}{
		{"not a number of tasks, such as 100", notWhole},
		{"too small, the least is 1", []string{"0", "00", strings.Repeat("0", 1<<20)}},
		{"too large, the most is 4194304", []string{"4194305", "9223372036854775807", "9223372036854775808", "18446744073709551616", "18446744073709551617", digits41, digits1M}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			if got, err := parseTasks(in); text(err) != test.want || got != 0 {
				t.Errorf("parseTasks(%s) = %d, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
}

func TestParseWeight(t *testing.T) {
	for in, want := range map[string]uint64{"1": 1, "100": 100, "010": 10, "10000": 10000} {
		if got, err := parseWeight(in); got != want || err != nil {
			t.Errorf("parseWeight(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	tests := []struct {
		want   string
		inputs []string
	}{
		{"not a weight from 1 to 10000", notWhole},
		{"too small, the least is 1", []string{"0", "00"}},
		{"too large, the most is 10000", []string{"10001", "9223372036854775808", "18446744073709551616", "18446744073709551716", digits41, digits1M}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			if got, err := parseWeight(in); text(err) != test.want || got != 0 {
				t.Errorf("parseWeight(%s) = %d, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		in   string
		want time.Duration
	}{
		{"90", 90 * time.Second},
		{"30s", 30 * time.Second},
		{"030s", 30 * time.Second},
		{"1.5m", 90 * time.Second},
		{"1.5h", 90 * time.Minute},
		{"0.5d", 12 * time.Hour},
		{"250ms", 250 * time.Millisecond},
		{"1.5", 1500 * time.Millisecond},
		{"0.001", time.Millisecond},
		{"1.001s", 1001 * time.Millisecond}, // 1000999999.9999999 in float64
		{"0.071m", 4260 * time.Millisecond},
		{"0.5ms", 500 * time.Microsecond},
		{"0.000001ms", time.Nanosecond},
		{"1d", day},
		{"36500d", 36500 * day},
		{"876000h", 36500 * day},
		{"3153600000", 36500 * day},
		{"0", 0}, {"0s", 0}, {"0ms", 0}, {"0.0d", 0}, {"00", 0},
	}
	for _, test := range tests {
		got, err := parseDuration(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseDuration(%q) = %v, %v; want %v", test.in, got, err, test.want)
		}
	}
}

// badTimes are no times, by the error that they give.
var badTimes = map[string][]string{
	"not a time, such as 30s (units: ms, s, m, h, d)": append([]string{
		"s", "ms", "m", "h", "d", "1m30s", "1h30", "1m 30s", "1s1", "30S", "30MS", "30Ms", "30mS", "30M", "1H", "1D",
		"30 s", " 30s", "30s ", "30s\n", "-30s", "+30s", "1e3s", "0x1s", "1_0s", ".5s", "1.s", "30us", "30µs", "30ns", "1w", "1y",
		"30sec", "30ss", "30mss", "01:30", "1:30", "forever", "١s", "３0s", "30ѕ", // Cyrillic
	}, notPlain...),
	"too large": {
		"36501d", "36500.01d", "876001h", "3153600001", "3153601000s", "9223372036854775807ms", "9223372036854775807", "9223372036854775808",
		"9223372036.854775808", "18446744073709551616", "18446744073.709551617s", "213504d", digits41, digits41 + "ms", digits1M, digits1M + "d", "0." + digits1M + "s",
	},
}

func TestParseDurationRefuses(t *testing.T) {
	for want, inputs := range badTimes {
		for _, in := range inputs {
			if got, err := parseDuration(in); text(err) != want || got != 0 {
				t.Errorf("parseDuration(%s) = %v, %v; want error %q", quoted(in), got, err, want)
			}
		}
	}
}

// A time limit is never zero, for that would be none.
func TestParseTimeLimit(t *testing.T) {
	for in, want := range map[string]time.Duration{"1ms": time.Millisecond, "0.001": time.Millisecond, "1.5ms": 1500 * time.Microsecond, "30": 30 * time.Second, "36500d": 36500 * 24 * time.Hour} {
		if got, err := parseTimeLimit(in); got != want || err != nil {
			t.Errorf("parseTimeLimit(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "00", "0.0", "0s", "0ms", "0d", "0.5ms", "0.0009", "0.00000001m", "0.000000000001d", "0.999ms"} {
		if got, err := parseTimeLimit(in); got != 0 || text(err) != "too small, the least is 1ms (leave the flag out for no limit)" {
			t.Errorf("parseTimeLimit(%q) = %v, %v", in, got, err)
		}
	}
	for want, inputs := range badTimes {
		for _, in := range inputs {
			if got, err := parseTimeLimit(in); text(err) != want || got != 0 {
				t.Errorf("parseTimeLimit(%s) = %v, %v; want error %q", quoted(in), got, err, want)
			}
		}
	}
}

// decimal reads digits with or without a fraction, exactly. ok tells whether s is
// that, and value is nil if it is too long for any of the parsers.
func decimal(s string) (value *big.Rat, ok bool) {
	whole, fraction, dot := strings.Cut(s, ".")
	if whole == "" || dot && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return nil, false
	}
	if len(s) > 40 {
		return nil, true
	}
	return new(big.Rat).SetString(s)
}

// offBy is by how much got exceeds want, beyond what the precision of float64
// explains.
func offBy(got int64, want *big.Rat) float64 {
	diff, _ := new(big.Rat).Sub(new(big.Rat).SetInt64(got), want).Float64()
	size, _ := want.Float64()
	precision := size / (1 << 51)
	return max(diff-precision, 0) + min(diff+precision, 0)
}

// nearly tells whether value is so near to limit that float64 may not tell them
// apart.
func nearly(value *big.Rat, limit int64) bool {
	v, _ := value.Float64()
	return v > float64(limit)*(1-1e-15) && v < float64(limit)*(1+1e-15)
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"30s", "1.5m", "90", "0", "0.5ms", "36500d", "36501d", "1m30s", "1e9", "-1", "30S", "1.2.3h", "9223372036854775808ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseDuration(s)
		number, unit := s, int64(time.Second)
		for _, u := range []struct {
			name string
			size time.Duration
		}{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}} {
			if text, ok := strings.CutSuffix(s, u.name); ok {
				number, unit = text, int64(u.size)
				break
			}
		}
		want, ok := decimal(number)
		if !ok || want == nil {
			if err == nil || got != 0 {
				t.Errorf("parseDuration(%q) = %v, %v; is no time", s, got, err)
			}
			return
		}
		want.Mul(want, new(big.Rat).SetInt64(unit))
		fits := want.Cmp(new(big.Rat).SetInt64(int64(maxDuration))) <= 0
		switch {
		case fits != (err == nil) && !nearly(want, int64(maxDuration)), err != nil && got != 0:
			t.Errorf("parseDuration(%q) = %v, %v; exactly %s ns", s, got, err, want.FloatString(3))
		case err == nil && (got < 0 || got > maxDuration):
			t.Errorf("parseDuration(%q) = %v: out of range", s, got)
		case err == nil && (offBy(int64(got), want) > 0.5 || offBy(int64(got), want) < -0.5):
			t.Errorf("parseDuration(%q) = %v, want %s ns", s, got, want.FloatString(3))
		}
	})
}

func FuzzParseCPUCount(f *testing.F) {
	for _, s := range []string{"1", "1.5", "0.01", "0.0099", "8192", "8193", "1e3", "-1", "1.", ".5", "0.29", "92233720368547.75808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseCPUCount(s)
		want, ok := decimal(s)
		if !ok || want == nil {
			if err == nil || got != 0 {
				t.Errorf("parseCPUCount(%q) = %d, %v; is no number", s, got, err)
			}
			return
		}
		want.Mul(want, new(big.Rat).SetInt64(cpuPeriod))
		// Half a microsecond less is rounded up to the least.
		fits := want.Cmp(big.NewRat(2*1000-1, 2)) >= 0 && want.Cmp(new(big.Rat).SetInt64(8192*cpuPeriod)) <= 0
		off := offBy(got, want)
		switch {
		case fits != (err == nil) && !nearly(want, 8192*cpuPeriod) && offBy(1000, want) != 0.5, err != nil && got != 0:
			t.Errorf("parseCPUCount(%q) = %d, %v; exactly %s", s, got, err, want.FloatString(3))
		case err == nil && (got < 1000 || got > 8192*cpuPeriod):
			t.Errorf("parseCPUCount(%q) = %d: out of range", s, got)
		case err == nil && (off > 0.5 || off < -0.5):
			t.Errorf("parseCPUCount(%q) = %d, want %s", s, got, want.FloatString(3))
		}
	})
}
