package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestExpiryText(t *testing.T) {
	tests := []struct {
		killed bool
		grace  time.Duration
		want   string
	}{
		{false, 5 * time.Second, "time limit of 1m30s exceeded, ended by SIGTERM"},
		{true, 5 * time.Second, "time limit of 1m30s exceeded, killed 5s after SIGTERM"},
		{true, 1500 * time.Millisecond, "time limit of 1m30s exceeded, killed 1.5s after SIGTERM"},
		{true, 0, "time limit of 1m30s exceeded, killed"},
	}
	for _, test := range tests {
		e := &expiry{limit: "time limit of 1m30s"}
		e.killed.Store(test.killed)
		if got := e.text(test.grace); got != test.want {
			t.Errorf("killed %v, grace %v: %q, want %q", test.killed, test.grace, got, test.want)
		}
	}
}

// pidless makes a container's signals go nowhere.
func pidless(c *container) *container {
	c.pidfd.Store(-1)
	return c
}

// A program that has ended in time is not ended by a limit that runs out then.
func TestExpiryAfterTheEnd(t *testing.T) {
	c := pidless(&container{})
	if got := c.expiry(); got != nil {
		t.Fatalf("%+v without a limit", got)
	}
	late := &expiry{cause: causeTimeout}
	c.expire(late)
	if c.expired.Load() == late || late.killed.Load() || c.asked.Load() != 0 {
		t.Errorf("a limit ends what has ended: killed %v, asked %v", late.killed.Load(), c.asked.Load())
	}
}

// Of two limits the first counts. It is told by whoever asks first, and stays.
func TestExpiryBeforeTheEnd(t *testing.T) {
	c := pidless(&container{})
	first, second := &expiry{cause: causeTimeout}, &expiry{cause: causeCPUTime}
	c.expire(first)
	c.expire(second)
	if got := c.expiry(); got != first || !first.killed.Load() || c.asked.Load() == 0 {
		t.Errorf("%+v, killed %v, asked %v", got, first.killed.Load(), c.asked.Load())
	}
	if second.killed.Load() {
		t.Error("the second limit kills too")
	}
	if got := c.expiry(); got != first {
		t.Errorf("asked again: %+v", got)
	}
}

// The program has the grace to end, to the moment.
func TestExpireGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pidless(&container{limits: limits{grace: 5 * time.Second}})
		e := new(expiry)
		go c.expire(e)
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		if c.expired.Load() != e || c.asked.Load() == 0 || e.killed.Load() {
			t.Errorf("in the grace: asked %v, killed %v", c.asked.Load(), e.killed.Load())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !e.killed.Load() {
			t.Error("after the grace: not killed")
		}
	})
}

func TestKeepTimeWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pidless(&container{limits: limits{wall: 90 * time.Minute}, startedAt: time.Now()})
		go c.keepTime()
		time.Sleep(90*time.Minute - 1)
		synctest.Wait()
		if e := c.expired.Load(); e != nil {
			t.Errorf("before the time: %q", e.text(0))
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if e := c.expiry(); e == nil || e.cause != causeTimeout || e.text(0) != "time limit of 1h30m0s exceeded, killed" {
			t.Errorf("at the time: %+v", e)
		}
	})
}

// CPU time is looked at when it can be used up: with two CPUs after half of it.
func TestKeepTimeCPU(t *testing.T) {
	m := fakeCgroup2(t, map[string]string{"cpu.stat": "usage_usec 0\n"})
	used := func(text string) {
		if err := os.WriteFile(filepath.Join(m.dir, "cpu.stat"), []byte("usage_usec "+text+"\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := pidless(&container{cgroup: m, parallel: 2, limits: limits{cpuTime: 10 * time.Second}})
		go c.keepTime()
		for _, step := range []struct {
			after time.Duration
			used  string // from then on
			ends  bool
		}{
			{1, "9999999", false},
			{5*time.Second - 1, "10000000", false}, // it was looked at: a microsecond was left
			{2 * time.Millisecond, "10000000", true},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			if e := c.expired.Load(); (e != nil) != step.ends {
				t.Errorf("%v later: expired %v", step.after, e != nil)
			}
			used(step.used)
		}
		if e := c.expiry(); e == nil || e.cause != causeCPUTime || e.text(0) != "CPU time limit of 10s exceeded, killed" {
			t.Errorf("at the end: %+v", e)
		}
	})
}

// The wall clock runs out while CPU time is left.
func TestKeepTimeBoth(t *testing.T) {
	m := fakeCgroup2(t, map[string]string{"cpu.stat": "usage_usec 1\n"})
	synctest.Test(t, func(t *testing.T) {
		c := pidless(&container{cgroup: m, parallel: 1, limits: limits{wall: time.Minute, cpuTime: time.Second}})
		go c.keepTime()
		time.Sleep(time.Minute)
		synctest.Wait()
		if e := c.expiry(); e == nil || e.cause != causeTimeout {
			t.Errorf("%+v", e)
		}
	})
}

func TestParallel(t *testing.T) {
	four := host{cpus: hostCPUs{available: cpuSet{0, 1, 2, 3}}}
	tests := []struct {
		cpus  cpuSet
		quota int64
		want  int
	}{
		{nil, 0, 4},
		{cpuSet{1}, 0, 1},
		{cpuSet{0, 2}, 0, 2},
		{nil, 1000, 4}, // it can burn what it has for a period on all of them
		{nil, 6400000, 4},
		{cpuSet{0, 2}, 300000, 2},
	}
	for _, test := range tests {
		if got := parallel(options{limits: limits{cpus: test.cpus, cpuQuota: test.quota}}, four); got != test.want {
			t.Errorf("CPUs %v, quota %d: %d, want %d", test.cpus, test.quota, got, test.want)
		}
	}
	if got := parallel(options{}, host{}); got != 1 { // it is divided by
		t.Errorf("without a known CPU: %d", got)
	}
}
