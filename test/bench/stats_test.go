package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	sorted := []time.Duration{10, 20, 30, 40}
	for q, want := range map[float64]time.Duration{0: 10, 0.5: 25, 0.9: 37, 1: 40} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
}

// The ratio's interval is narrow where one is always twice the other, however much the
// machine changes from round to round; and wide where it is not.
func TestCompare(t *testing.T) {
	var slow, fast, odd series
	for i := range time.Duration(30) {
		base := 1000 + 100*(i%7)
		fast = append(fast, []time.Duration{base, base + 1})
		slow = append(slow, []time.Duration{2 * base, 2*base + 2})
		odd = append(odd, []time.Duration{base * (1 + i%4)})
	}
	if r := compare(slow, fast); r.Ratio != 2 || r.Low < 1.99 || r.High > 2.01 {
		t.Errorf("twice: %+v", r)
	}
	if r := compare(odd, fast); r.High-r.Low < 0.3 || r.Ratio < r.Low || r.Ratio > r.High {
		t.Errorf("one to four times: %+v", r)
	}
}
