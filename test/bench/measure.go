// The measurements. Rows take turns in an order that changes from round to round.

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// between two spaced runs: the kernel has had its grace periods, so that a run waits
	// for its own, as it does in real use
	space = 150 * time.Millisecond
	// A hot round is a burst of so many runs of a row, the first of which does not count.
	burst = 4
)

// timing is what a row took in one way of timing.
type timing struct {
	Mode, Tool, Job string
	Wall            series
	CPU             series
}

// measureTimes measures all rows, spaced and hot.
func (b *bench) measureTimes() error {
	for _, mode := range []string{"spaced", "hot"} {
		for _, net := range []bool{true, false} {
			rows := b.of(net)
			timings := make([]*timing, len(rows))
			for i, r := range rows {
				timings[i] = &timing{Mode: mode, Tool: r.tool.name, Job: r.job()}
			}
			others, err := watched(func() error { return b.rounds(mode, rows, timings) })
			if err != nil {
				return err
			}
			b.found.printTimes(timings, others)
		}
	}
	return nil
}

// rounds fills the timings of the rows.
func (b *bench) rounds(mode string, rows []*row, timings []*timing) error {
	rounds, repeat := b.runs, 1
	if mode == "hot" {
		rounds, repeat = (b.runs+burst-2)/(burst-1), burst
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range rounds {
		for _, i := range rand.Perm(len(rows)) {
			var wall, cpu []time.Duration
			for n := range repeat {
				if mode == "spaced" || n == 0 {
					time.Sleep(space)
				}
				one, err := b.w.measured(rows[i])
				if err != nil {
					return err
				}
				if repeat == 1 || n > 0 {
					wall, cpu = append(wall, one.Wall), append(cpu, one.CPU)
				}
			}
			timings[i].Wall, timings[i].CPU = append(timings[i].Wall, wall), append(timings[i].CPU, cpu)
		}
	}
	return nil
}

// watched runs f, and returns which part of the machine's CPU time was used meanwhile by
// others than this process and its children; what the kernel does for these later is
// among that.
func watched(f func() error) (others float64, err error) {
	busy0, all0 := machineTime()
	own0 := ownTime()
	err = f()
	busy1, all1 := machineTime()
	if all1 > all0 {
		others = max(0, 1-float64(ownTime()-own0)/float64(busy1-busy0)) * float64(busy1-busy0) / float64(all1-all0)
	}
	return others, err
}

// measureParallel measures fifty J, eight at a time: all of them together, thrice.
func (b *bench) measureParallel() error {
	const count, width, rounds = 50, 8, 3
	rows := b.of(true)
	took := make(map[*row][]time.Duration)
	for range rounds {
		for _, i := range rand.Perm(len(rows)) {
			d, err := b.w.parallel(rows[i], count, width)
			if err != nil {
				return err
			}
			took[rows[i]] = append(took[rows[i]], d)
			time.Sleep(space)
		}
	}
	b.found.printParallel(rows, took, fmt.Sprintf("%d J, %d at a time", count, width))
	return nil
}

// parallel returns how long so many runs take, with width in progress at a time.
func (w *world) parallel(r *row, count, width int) (took time.Duration, err error) {
	var all []*run
	for range count {
		one, err := w.newRun(r, "/bin/true")
		if err != nil {
			return 0, err
		}
		defer one.remove()
		all = append(all, one)
	}
	var (
		mu      sync.Mutex
		running sync.WaitGroup
		next    = make(chan *run)
	)
	begin := time.Now()
	for range width {
		running.Go(func() {
			for one := range next {
				s, startErr := one.start(r.tool)
				var result sample
				if startErr == nil {
					result, startErr = s.wait()
				}
				if startErr == nil && result.code != 0 {
					startErr = fmt.Errorf("%s, in parallel: status %d: %s", r, result.code, one.printed())
				}
				mu.Lock()
				err = errors.Join(err, startErr)
				mu.Unlock()
			}
		})
	}
	for _, one := range all {
		next <- one
	}
	close(next)
	running.Wait()
	took = time.Since(begin)
	_, reapErr := w.reap()
	if interrupted.Load() {
		return took, errInterrupted
	}
	return took, errors.Join(err, reapErr)
}

// footprint is the memory of a tool's own processes per program, in KiB.
type footprint struct {
	Tool      string
	PSS       float64 // but for the script around it
	Script    float64 // that
	Processes float64
}

// measureMemory measures what stays of each tool while forty programs run, two seconds
// after the last was started.
func (b *bench) measureMemory() error {
	const count, settled = 40, 2 * time.Second
	var found []footprint
	for _, r := range b.of(true) {
		var all []resident
		var err error
		for range count {
			one, startErr := b.w.startResident(r)
			if startErr != nil || interrupted.Load() {
				err = errors.Join(startErr, b.stopped())
				break
			}
			all = append(all, one)
		}
		f := footprint{Tool: r.tool.name}
		if err == nil {
			time.Sleep(settled)
			f.add(all)
		}
		if err := errors.Join(err, b.w.endAll(all)); err != nil {
			return err
		}
		found = append(found, f)
	}
	b.found.printMemory(found, count)
	return nil
}

func (b *bench) stopped() error {
	if interrupted.Load() {
		return errInterrupted
	}
	return nil
}

// add adds up the processes that exist for these programs, which are not counted.
func (f *footprint) add(all []resident) {
	var programs, scripts []int
	for _, one := range all {
		programs = append(programs, one.programs...)
		if argv := commandLine(one.pid); argv[0] == "/bin/sh" {
			scripts = append(scripts, one.pid)
		}
	}
	for _, pid := range descendants() {
		switch {
		case slices.Contains(programs, pid):
		case slices.Contains(scripts, pid):
			f.Script += pss(pid)
		default:
			f.PSS += pss(pid)
			f.Processes++
		}
	}
	n := float64(len(all))
	f.PSS, f.Script, f.Processes = f.PSS/n, f.Script/n, f.Processes/n
}

// pss is the memory of a process in KiB, of what it shares its part.
func pss(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return n
		}
	}
	return 0
}

// growth is the time of J0 under one condition.
type growth struct {
	Condition      string
	Contain, Limit time.Duration // medians
}

// measureGrowth measures how J0 becomes slower with what is there already.
func (b *bench) measureGrowth() error {
	var rows []*row
	for _, t := range tools[:2] { // contain and limit
		rows = append(rows, &row{tool: t})
	}
	var found []growth
	measure := func(condition string) error {
		timings := []*timing{{}, {}}
		if err := b.rounds("spaced", rows, timings); err != nil {
			return err
		}
		found = append(found, growth{condition, median(timings[0].Wall.all()), median(timings[1].Wall.all())})
		return nil
	}
	for _, step := range []func(func(string) error) error{b.besideRunning, b.besideCgroups, b.withFiles} {
		if err := step(measure); err != nil {
			return err
		}
	}
	b.found.printGrowth(found)
	return nil
}

// besideRunning measures with more and more programs of contain's running.
func (b *bench) besideRunning(measure func(string) error) (err error) {
	const each = 16 << 20 // bytes that one takes at the most, with the kernel's part
	r := &row{tool: tools[0]}
	var all []resident
	defer func() { err = errors.Join(err, b.w.endAll(all)) }()
	for _, count := range []int{0, 1, 10, 100, 1000} {
		if count > b.most {
			break
		}
		if free := availableMemory(); int64(count)*each > free {
			b.found.say("%d programs running: left out, for want of memory (%d MiB)", count, free>>20)
			break
		}
		for len(all) < count {
			one, err := b.w.startResident(r)
			if err != nil || interrupted.Load() {
				return errors.Join(err, b.stopped())
			}
			all = append(all, one)
		}
		if err := measure(fmt.Sprintf("%d programs running", count)); err != nil {
			return err
		}
	}
	return nil
}

// besideCgroups measures with empty cgroups beside those that the runs get.
func (b *bench) besideCgroups(measure func(string) error) (err error) {
	var made []string
	defer func() {
		for _, dir := range made {
			err = errors.Join(err, os.Remove(dir))
		}
	}()
	for _, count := range []int{100, 500} {
		for i := len(made) / len(b.w.cgroups); i < count; i++ {
			for _, h := range b.w.cgroups {
				dir := filepath.Join(h.dir, fmt.Sprintf("sibling%d", i))
				if err := os.Mkdir(dir, 0o755); err != nil {
					return err
				}
				made = append(made, dir)
			}
		}
		if err := measure(fmt.Sprintf("%d sibling cgroups", count)); err != nil {
			return err
		}
	}
	return nil
}

// withFiles measures with many files in the root.
func (b *bench) withFiles(measure func(string) error) (err error) {
	const dirs, files = 100, 1000
	top := filepath.Join(b.w.root, "files")
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	for i := range dirs {
		dir := filepath.Join(top, strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for j := range files {
			if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(j)), []byte("x"), 0o644); err != nil {
				return err
			}
		}
		if interrupted.Load() {
			return errInterrupted
		}
	}
	return measure(fmt.Sprintf("%d files in the root (else 4)", dirs*files))
}
