// Time limits: of the wall clock and of CPU time. Like timeout(1) contain asks the
// program to end, by SIGTERM, and after a grace kills all of it.

package main

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// expiry is a time limit that was exceeded.
type expiry struct {
	cause  string    // for the report
	limit  string    // for people
	kill   time.Time // when it is to be killed
	killed atomic.Bool
	hasty  bool // without a SIGTERM before, see make_room in rest.c
}

// overtime is how a time limit has ended the program.
type overtime struct {
	cause, text string
	killed      bool
	ending      status // of the program
}

// programEnded stands for an expiry where the program has ended in time; goesToRest where
// contain does so, and its next life is to look.
var programEnded, goesToRest = new(expiry), new(expiry)

// text is what is told about the limit.
func (e *expiry) text(grace time.Duration) string {
	switch {
	case !e.killed.Load():
		return e.limit + " exceeded, ended by SIGTERM"
	case grace == 0 || e.hasty:
		return e.limit + " exceeded, killed"
	}
	return fmt.Sprintf("%s exceeded, killed %s after SIGTERM", e.limit, grace)
}

func (l limits) wallExpiry() *expiry {
	return &expiry{cause: causeTimeout, limit: "time limit of " + l.wall.String()}
}

func (l limits) cpuTimeExpiry() *expiry {
	return &expiry{cause: causeCPUTime, limit: "CPU time limit of " + l.cpuTime.String()}
}

// keepTime ends the program when its time is up. The clocks are monotonic; they
// stand still while the machine sleeps. CPU time is looked at again at the earliest
// moment at which it can be used up, but not all the time.
func (c *container) keepTime() {
	const least = 2 * time.Millisecond
	var wall, look <-chan time.Time
	if limit := c.limits.wall; limit != 0 {
		wall = time.After(limit - time.Since(c.startedAt))
	}
	if c.limits.cpuTime != 0 {
		look = time.After(0)
	}
	for {
		select {
		case <-wall:
			c.expire(c.limits.wallExpiry())
			return
		case <-look:
			left := c.limits.cpuTime - cpuTimeUsed(c.cgroup)
			if left <= 0 {
				c.expire(c.limits.cpuTimeExpiry())
				return
			}
			look = time.After(max(left/time.Duration(c.parallel), least)) // it has that many CPUs
		}
	}
}

// wallTimeLeft is how long the program may still run, if that is limited: until it is
// asked to end, or then until it is killed.
func (c *container) wallTimeLeft() (time.Duration, bool) {
	e := c.expired.Load()
	switch {
	case e == programEnded:
		return 0, false
	case e != nil:
		return max(time.Until(e.kill), 0), true
	case c.limits.wall == 0:
		return 0, false
	}
	return max(c.limits.wall-time.Since(c.startedAt), 0), true
}

// expire ends the program for e, unless it has ended already.
func (c *container) expire(e *expiry) {
	e.kill = time.Now().Add(c.limits.grace)
	for !c.expired.CompareAndSwap(nil, e) {
		if c.expired.Load() != goesToRest {
			return
		}
		time.Sleep(restFails)
	}
	c.asked.Store(math.MaxInt64)
	if c.limits.grace > 0 {
		c.signal(unix.SIGTERM, pid1ToGroup)
		c.signal(unix.SIGCONT, pid1ToGroup) // it may be stopped
		time.Sleep(c.limits.grace)
	}
	e.killed.Store(true)
	c.kill()
}

// expiry returns the time limit that has ended the program, or nil. From then on
// none does.
func (c *container) expiry() *expiry {
	if c.expired.CompareAndSwap(nil, programEnded) {
		return nil
	}
	return c.expired.Load()
}
