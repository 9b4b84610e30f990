package main

import "testing"

func TestTCPInUse(t *testing.T) {
	for counts, want := range map[string]bool{
		"sockets: used 3\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 4\nTCP6: inuse 0\n": false,
		"sockets: used 3\nTCP: inuse 1 orphan 0 tw 0 alloc 0 mem 0\nTCP6: inuse 0\n":               true,
		"TCP: inuse 0 orphan 0\nTCP6: inuse 12\n":                                                  true,
		"UDP: inuse 0\n": true, // it does not say
		"":               true,
	} {
		if got := tcpInUse(counts); got != want {
			t.Errorf("%q: %v", counts, got)
		}
	}
}
