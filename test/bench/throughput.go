// What a program does in a second when contain has started it, and when the bare system
// calls have (limit), in the same kind of cgroup and netns: with a CPU, a disk, TCP.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// throughput is how many times as much a program does under contain.
type throughput struct {
	Load  string
	Unit  string
	Bare  float64 // a second, median
	Times ratio
}

// loads are how long each runs, in ms, and what is counted.
var loads = []struct{ name, unit string }{{"cpu", "rounds"}, {"disk", "bytes"}, {"tcp", "bytes"}}

const loadTime, sinkPort = "1000", "7007"

// measureThroughput measures each load as many times as RUNS, with contain and with limit.
func (b *bench) measureThroughput() (err error) {
	var rows []*row
	for _, r := range b.of(true) {
		if r.tool.name == "contain" || r.tool.name == "limit" {
			rows = append(rows, r)
		}
	}
	if len(rows) != 2 {
		return errors.New("contain and limit are needed")
	}
	end, err := b.sink()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	var found []throughput
	for _, load := range loads {
		program := []string{"/bin/load", load.name, loadTime}
		switch load.name {
		case "disk":
			program = append(program, "/tmp/written")
		case "tcp":
			program = append(program, gateway, sinkPort)
		}
		took := [2]series{}
		for range b.runs {
			for _, i := range rand.Perm(2) {
				d, err := b.w.perUnit(rows[i], program)
				if err != nil {
					return err
				}
				took[i] = append(took[i], []time.Duration{d})
			}
		}
		// The time that a number of units takes: contain's is the divisor.
		found = append(found, throughput{load.name, load.unit, units / median(took[1].all()).Seconds(), compare(took[1], took[0])})
	}
	b.found.printThroughput(found)
	return nil
}

// units are so many that their time is a large number of nanoseconds.
const units = 1e9

// perUnit runs a load, and returns how long it has taken for units.
func (w *world) perUnit(r *row, program []string) (time.Duration, error) {
	one, err := w.once(r, program...)
	if err != nil {
		return 0, err
	}
	rate, err := strconv.ParseFloat(one.printed, 64)
	if err != nil || one.code != 0 || rate <= 0 {
		return 0, fmt.Errorf("%s: %s: status %d: %s", r, program[1], one.code, one.printed)
	}
	return time.Duration(units / rate * float64(time.Second)), nil
}

// sink starts what takes the bytes of the tcp load, and returns its end.
func (b *bench) sink() (end func() error, err error) {
	cmd := exec.Command(b.w.root+"/bin/load", "sink", sinkPort)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.w.residents++
	end = func() error {
		b.w.residents--
		err := cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("the sink does not start: %w", err), end())
	}
	return end, nil
}
