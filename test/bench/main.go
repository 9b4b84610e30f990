// Command bench measures contain beside other tools that can do the same, and beside the
// least that the kernel asks for it (limit/limit.c). "make bench" builds and runs it, as root.
//
// The jobs: J is /bin/true in a root of its own, with a limit of 128 MiB, a cpuset,
// namespaces, and a veth with an address on an existing bridge and a default route; its
// status is passed on, and nothing is left. J0 is the same with loopback only.
//
// All runs happen in one world (world.go) that is thrown away afterwards: this process
// makes it, runs itself in it, and removes what is left, whatever has happened there. A
// tool is measured for a job only if it really does it (check.go); where what it does is
// less or more than what contain does, the table says so. Nothing of contain's defaults
// is switched off.
//
// The environment: RUNS, ONLY (tools, separated by commas), PARTS (see parts), MOST (how
// many programs run at once at the most), BENCH_OUT (a file for JSON), PLOT (one for SVG),
// CONTAIN, LIMIT, LOAD, FILTER and JOBS (where the built and the other files are).
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// bench is one benchmark: what was asked for, and what was found.
type bench struct {
	w     *world
	runs  int
	most  int // programs at a time
	only  []string
	ready []*tool // that were set up
	rows  []*row
	found report
}

// parts are what can be measured, in this order.
var parts = []struct {
	name    string
	measure func(*bench) error
}{
	{"times", (*bench).measureTimes},
	{"parallel", (*bench).measureParallel},
	{"memory", (*bench).measureMemory},
	{"throughput", (*bench).measureThroughput},
	{"growth", (*bench).measureGrowth},
}

// interrupted is set by the first SIGINT or SIGTERM: the run that is in progress is the
// last one then.
var interrupted atomic.Bool

func main() {
	if os.Geteuid() != 0 {
		fail(fmt.Errorf("must be run as root"))
	}
	switch dir := os.Getenv(insideVariable); {
	case dir == "":
		status, err := outside()
		fail(err)
		os.Exit(status)
	case os.Getenv(enteredVariable) == "":
		fail(enterCgroup())
	default:
		fail(inside(dir))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// inside does all the measuring, in the world whose files are in dir.
func inside(dir string) (err error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		interrupted.Store(true)
		<-signals
		os.Exit(130)
	}()
	b := &bench{}
	if b.runs, err = number("RUNS", 30, 2); err != nil {
		return err
	}
	if b.most, err = number("MOST", 1000, 1); err != nil {
		return err
	}
	b.only = strings.FieldsFunc(os.Getenv("ONLY"), func(r rune) bool { return r == ',' || r == ' ' })
	if b.w, err = newWorld(dir); err != nil {
		return err
	}
	b.found = newReport(b)
	defer func() { err = errors.Join(err, b.dismiss()) }()
	if err := b.choose(); err != nil {
		return err
	}
	wanted := strings.FieldsFunc(os.Getenv("PARTS"), func(r rune) bool { return r == ',' || r == ' ' })
	for _, part := range parts {
		if len(wanted) > 0 && !slices.Contains(wanted, part.name) {
			continue
		}
		if err := part.measure(b); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return b.found.write(os.Getenv("BENCH_OUT"), os.Getenv("PLOT"))
}

// number returns the value of a variable of the environment.
func number(name string, usual, least int) (n int, err error) {
	text := os.Getenv(name)
	if text == "" {
		return usual, nil
	}
	if n, err = strconv.Atoi(text); err != nil || n < least {
		return 0, fmt.Errorf("%s=%s: must be a number, %d at least", name, text, least)
	}
	return n, nil
}

// wanted tells whether ONLY has a tool, by its name or by the part before its first hyphen.
// Without contain there is nothing to compare with.
func (b *bench) wanted(tool string) bool {
	family, _, _ := strings.Cut(tool, "-")
	return len(b.only) == 0 || tool == "contain" || slices.Contains(b.only, tool) || slices.Contains(b.only, family)
}

// choose finds out which tools are here and do the jobs: those become rows.
func (b *bench) choose() error {
	heading("What each tool does for the job")
	for _, t := range tools {
		if !b.wanted(t.name) {
			continue
		}
		if why := t.missing(); why != "" {
			b.found.absent(t.name, why)
			continue
		}
		if t.setUp != nil {
			if err := t.setUp(b.w); err != nil {
				b.found.absent(t.name, err.Error())
				continue
			}
			b.ready = append(b.ready, t)
		}
		for _, net := range []bool{true, false} {
			if interrupted.Load() {
				return errInterrupted
			}
			r := &row{tool: t, net: net}
			if !t.does(r.job()) {
				continue
			}
			facts, err := b.w.check(r)
			if err != nil {
				if t.name == "contain" {
					return fmt.Errorf("contain, %s: %w", r.job(), err)
				}
				b.found.absent(t.name+", "+r.job(), err.Error())
				continue
			}
			b.found.present(r, facts)
			b.rows = append(b.rows, r)
		}
	}
	b.found.printDifferences()
	return nil
}

// dismiss undoes what the tools' setUp has done outside of the world.
func (b *bench) dismiss() (err error) {
	for _, t := range b.ready {
		if t.tearDown != nil {
			err = errors.Join(err, t.tearDown(b.w))
		}
	}
	return err
}

// of returns the rows of a job.
func (b *bench) of(net bool) (rows []*row) {
	for _, r := range b.rows {
		if r.net == net {
			rows = append(rows, r)
		}
	}
	return rows
}

func heading(format string, args ...any) { fmt.Printf("\n== "+format+"\n", args...) }
