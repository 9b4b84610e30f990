// What is made of many measurements.

package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// series is what one row took, by rounds: in a round all rows had their turn, so that
// what disturbed the machine for a while disturbed all of them.
type series [][]time.Duration

func (s series) all() []time.Duration { return slices.Concat(s...) }

// quantile returns the value below which the share q of sorted lies, between two
// measurements in proportion. There must be one.
func quantile(sorted []time.Duration, q float64) time.Duration {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + time.Duration((at-float64(i))*float64(sorted[i+1]-sorted[i]))
}

func median(values []time.Duration) time.Duration {
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// ratio is that of two medians, and between which values it lies with a probability of
// 95 %.
type ratio struct{ Ratio, Low, High float64 }

// compare returns the ratio of a's median to b's. The interval is a bootstrap's: rounds
// are drawn again, the same for both.
func compare(a, b series) ratio {
	const draws = 2000
	random := rand.New(rand.NewPCG(1, 2)) // the same figures give the same interval
	of := func(a, b series) float64 {
		return float64(median(a.all())) / float64(median(b.all()))
	}
	rounds := min(len(a), len(b))
	found := make([]float64, draws)
	for i := range found {
		x, y := make(series, rounds), make(series, rounds)
		for j := range rounds {
			k := random.IntN(rounds)
			x[j], y[j] = a[k], b[k]
		}
		found[i] = of(x, y)
	}
	slices.Sort(found)
	return ratio{of(a, b), found[draws*25/1000], found[draws*975/1000]}
}
