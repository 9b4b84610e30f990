package main

import (
	"math/big"
	"strings"
	"testing"
)

func TestParseRate(t *testing.T) {
	tests := []struct {
		in   string
		want uint64 // bits a second
	}{
		{"8000bit", 8000},
		{"8kbit", 8000},
		{"08kbit", 8000},
		{"10mbit", 10_000_000},
		{"10Mbit", 10_000_000},
		{"10Kbit", 10_000},
		{"1Gbit", 1_000_000_000},
		{"1.5mbit", 1_500_000},
		{"0.1gbit", 100_000_000},
		{"1000gbit", 1_000_000_000_000},
		{"1000000000000bit", 1_000_000_000_000},
	}
	for _, test := range tests {
		got, err := parseRate(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseRate(%q) = %d, %v; want %d", test.in, got, err, test.want)
		}
	}
}

func TestParseRateRefuses(t *testing.T) {
	tests := []struct {
		want   string
		inputs []string
	}{
		// A number without a unit is refused, for tc(8) takes it for bits and people may
		// mean something else. A byte is not a bit: 10mbps is 80mbit to tc.
		{"not a rate, such as 10mbit (units: bit, kbit, mbit, gbit)", append([]string{
			"1", "10000", "bit", "mbit", "10m", "10M", "10mb", "10MB", "10mbps", "10mbits", "10mibit", "10tbit", "10MBIT", "10mBit", "10BIT",
			"10 mbit", " 10mbit", "10mbit ", "10mbit\n", "-10mbit", "+10mbit", "1e3mbit", "0x10mbit", "1_0mbit", ".5mbit", "1.mbit",
			"1.2.3mbit", "NaNbit", "Infmbit", "١mbit", "１０mbit", "10mbit/s", "10%",
		}, notPlain...)},
		{"too small, the least is 8kbit", []string{"0bit", "0gbit", "0.0mbit", "1bit", "7999bit", "7999.9bit", "7.999kbit", "0.000001gbit"}},
		{"too large, the most is 1000gbit", []string{
			"1001gbit", "1000.1gbit", "1000000000001bit", "9223372036854775808bit", "18446744073709551616bit", "18446744073.709551617gbit",
			digits41 + "bit", digits1M + "gbit", "0." + digits1M + "mbit",
		}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			if got, err := parseRate(in); text(err) != test.want || got != 0 {
				t.Errorf("parseRate(%s) = %d, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
}

func TestParseBandwidth(t *testing.T) {
	tests := []struct {
		in   string
		want bandwidth
	}{
		{"10mbit", bandwidth{10_000_000, 10_000_000}},
		{"10mbit/down", bandwidth{Down: 10_000_000}},
		{"10mbit/up", bandwidth{Up: 10_000_000}},
		{"10mbit/down:1mbit/up", bandwidth{10_000_000, 1_000_000}},
		{"1mbit/up:10mbit/down", bandwidth{10_000_000, 1_000_000}},
	}
	for _, test := range tests {
		got, err := parseBandwidth(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseBandwidth(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
		}
	}
}

func TestParseBandwidthRefuses(t *testing.T) {
	const rate = "not a rate, such as 10mbit (units: bit, kbit, mbit, gbit)"
	const directions = "not a rate, or RATE/down:RATE/up"
	tests := []struct {
		want   string
		inputs []string
	}{
		{rate, []string{
			"", ":", "/", "/down", "down", "10mbit/down:", ":10mbit/down", "10mbit/down::10mbit/up", "10/down", "10mbit/down:x", "x:10mbit/down",
			" 10mbit", "10mbit /down", "10mbit/down: 1mbit/up",
		}},
		{directions, []string{
			"10mbit/", "10mbit/down,1mbit/up", "10mbit/x", "10mbit/Down", "10mbit/UP", "10mbit/down ", "10mbit/down\n", "10mbit/down/up", "10mbit//down", "10mbit/s",
			"10mbit:10mbit", "10mbit:1mbit/up", "10mbit/down:1mbit", "10mbit/down:10mbit/down", "10mbit/up:1mbit/up",
			"10mbit/down:1mbit/up:1mbit/up", "10mbit/down:1mbit/up:1mbit/down", "10mbit/down:1mbit/up:1mbit",
		}},
		{"too small, the least is 8kbit", []string{"0bit", "0bit/down", "1mbit/up:0bit/down"}},
		{"too large, the most is 1000gbit", []string{"1001gbit/up", "1mbit/down:1001gbit/up"}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			if got, err := parseBandwidth(in); text(err) != test.want {
				t.Errorf("parseBandwidth(%q) = %+v, %v; want error %q", in, got, err, test.want)
			}
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"10mbit", "1.5Gbit", "8kbit", "7999bit", "1000gbit", "1001gbit", "10", "10mbps", "1e3bit", "-1kbit", "10MBIT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseRate(s)
		number, unit := s, int64(0)
		if rest, ok := strings.CutSuffix(s, "bit"); ok {
			number, unit = rest, 1
			for i, prefixes := range []string{"kK", "mM", "gG"} {
				if text := strings.TrimRight(rest, prefixes); len(text) == len(rest)-1 {
					number, unit = text, []int64{1e3, 1e6, 1e9}[i]
				}
			}
		}
		want, ok := decimal(number)
		if unit == 0 || !ok || want == nil {
			if err == nil || got != 0 {
				t.Errorf("parseRate(%q) = %d, %v; is no rate", s, got, err)
			}
			return
		}
		want.Mul(want, new(big.Rat).SetInt64(unit))
		fits := want.Cmp(new(big.Rat).SetInt64(8000)) >= 0 && want.Cmp(new(big.Rat).SetInt64(1e12)) <= 0
		off := offBy(int64(got), want)
		switch {
		case fits != (err == nil) && !nearly(want, 8000) && !nearly(want, 1e12), err != nil && got != 0:
			t.Errorf("parseRate(%q) = %d, %v; exactly %s", s, got, err, want.FloatString(3))
		case err == nil && (got < 8000 || got > 1e12):
			t.Errorf("parseRate(%q) = %d: out of range", s, got)
		case err == nil && (off > 0 || off <= -1): // a fraction of a bit is cut off
			t.Errorf("parseRate(%q) = %d, want %s", s, got, want.FloatString(3))
		}
	})
}

// What is accepted is one rate for both directions, or at most one for each.
func FuzzParseBandwidth(f *testing.F) {
	for _, s := range []string{"10mbit", "10mbit/down", "10mbit/down:1mbit/up", "1mbit/up:1mbit/up", "10mbit:1mbit", "/", ":", "10mbit/down:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseBandwidth(s)
		if err != nil {
			return
		}
		down, up := 0, 0
		for _, part := range strings.Split(s, ":") {
			rate, direction, _ := strings.Cut(part, "/")
			want, err := parseRate(rate)
			if direction != "up" {
				down++
			}
			if direction != "down" {
				up++
			}
			if err != nil || direction != "up" && got.Down != want || direction != "down" && got.Up != want {
				t.Errorf("parseBandwidth(%q) = %+v; %q is %d, %v", s, got, rate, want, err)
			}
		}
		if down > 1 || up > 1 || down == 0 && got.Down != 0 || up == 0 && got.Up != 0 {
			t.Errorf("parseBandwidth(%q) = %+v", s, got)
		}
	})
}
