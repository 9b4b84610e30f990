// What is printed and written of what was found.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is what BENCH_OUT gets.
type report struct {
	When, Kernel, Processor, LoadBefore, LoadAfter string
	CgroupV2                                       bool
	Runs                                           int
	Versions                                       map[string]string
	Absent                                         map[string]string // and why
	Rows                                           []present
	Times                                          []line
	Parallel                                       map[string]float64 // seconds
	Memory                                         []footprint
	Throughput                                     []throughput
	Growth                                         []growthLine
	Notes                                          []string
}

type present struct {
	Tool, Job, Note string
	Facts           facts
}

// line is a row of a table of times, in milliseconds.
type line struct {
	Mode, Job, Tool    string
	Runs               int
	Min, P50, P90, CPU float64
	ToContain          ratio
	Wall               [][]float64 // all of them, by round
}

type growthLine struct {
	Condition      string
	Contain, Limit float64 // milliseconds
}

func newReport(b *bench) report {
	r := report{
		When: time.Now().UTC().Format(time.RFC3339), Kernel: kernel(), Processor: processor(), LoadBefore: loadAverage(),
		CgroupV2: b.w.unified, Runs: b.runs, Versions: map[string]string{}, Absent: map[string]string{}, Parallel: map[string]float64{},
	}
	world := "v1"
	if r.CgroupV2 {
		world = "v2"
	}
	fmt.Printf("Linux %s, cgroup %s, %s; load %s; RUNS=%d\n", r.Kernel, world, r.Processor, r.LoadBefore, r.Runs)
	return r
}

func (f *report) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	f.Notes = append(f.Notes, text)
	fmt.Println(text)
}

// absent notes a tool that is not measured.
func (f *report) absent(tool, why string) {
	f.Absent[tool] = why
	fmt.Printf("%-12s not measured: %s\n", tool, why)
}

func (f *report) present(r *row, facts facts) {
	f.Rows = append(f.Rows, present{r.tool.name, r.job(), r.tool.note, facts})
	if argv := slices.Clone(r.tool.version); len(argv) > 0 && f.Versions[r.tool.name] == "" {
		if argv[0] == "contain" {
			argv[0] = os.Getenv("CONTAIN")
		} else if path, err := lookPath(argv[0]); err == nil {
			argv[0] = path
		}
		out, _ := exec.Command(argv[0], argv[1:]...).Output()
		f.Versions[r.tool.name], _, _ = strings.Cut(string(out), "\n")
	}
}

func (f *report) printDifferences() {
	fmt.Printf("%-11s %-3s %-35s %4s %6s %4s %4s %6s %4s %5s %9s\n", "tool", "job", "namespaces", "hier", "filter", "nnp", "caps", "mounts", "/dev", "procs", "gone, ms")
	yes := map[bool]string{true: "yes", false: "no"}
	for _, p := range f.Rows {
		fmt.Printf("%-11s %-3s %-35s %4d %6s %4s %4d %6d %4d %5d %9.1f\n", p.Tool, p.Job, strings.Join(p.Facts.Namespaces, " "), p.Facts.Hierarchies,
			yes[p.Facts.Seccomp], yes[p.Facts.NoNewPrivs], p.Facts.Caps, p.Facts.Mounts, p.Facts.Devices, p.Facts.Processes, p.Facts.GoneAfter)
	}
	fmt.Print("hier: hierarchies it is put into; nnp: no_new_privs; mounts, /dev: that the program sees, entries there;\n" +
		"procs: of the tool while the program runs; gone: when after the end nothing was left (netns teardown is the kernel's)\n")
	said := map[string]bool{}
	for _, p := range f.Rows {
		for _, text := range []string{p.Note, prefixed("keeps ", p.Facts.Kept)} {
			if line := p.Tool + ": " + text; text != "" && !said[line] {
				said[line] = true
				fmt.Println(line)
			}
		}
	}
	for _, p := range f.Rows {
		if version := f.Versions[p.Tool]; version != "" && !said[version] {
			said[version] = true
			fmt.Println(p.Tool + ": " + version)
		}
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printTimes prints the rows of a mode and a job, the fastest first.
func (f *report) printTimes(timings []*timing, others float64) {
	if len(timings) == 0 {
		return
	}
	contain := timings[slices.IndexFunc(timings, func(t *timing) bool { return t.Tool == "contain" })]
	var lines []line
	for _, t := range timings {
		sorted := slices.Sorted(slices.Values(t.Wall.all()))
		var cpu time.Duration
		for _, d := range t.CPU.all() {
			cpu += d
		}
		l := line{
			Mode: t.Mode, Job: t.Job, Tool: t.Tool, Runs: len(sorted), ToContain: compare(t.Wall, contain.Wall),
			Min: milliseconds(sorted[0]), P50: milliseconds(quantile(sorted, 0.5)), P90: milliseconds(quantile(sorted, 0.9)),
			CPU: milliseconds(cpu / time.Duration(len(sorted))),
		}
		for _, round := range t.Wall {
			var values []float64
			for _, d := range round {
				values = append(values, milliseconds(d))
			}
			l.Wall = append(l.Wall, values)
		}
		lines = append(lines, l)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return int(1000 * (a.P50 - b.P50)) })
	how := fmt.Sprintf("%v apart", space)
	if lines[0].Mode == "hot" {
		how = "back to back"
	}
	heading("%s, %s, ms; %d runs each; others used %.0f %% of the machine", lines[0].Job, how, lines[0].Runs, 100*others)
	fmt.Printf("%-11s %8s %8s %8s %8s   %s\n", "tool", "min", "p50", "p90", "CPU", "p50 to contain's, 95 %")
	for _, l := range lines {
		fmt.Printf("%-11s %8.2f %8.2f %8.2f %8.2f   %5.2f (%.2f to %.2f)\n", l.Tool, l.Min, l.P50, l.P90, l.CPU, l.ToContain.Ratio, l.ToContain.Low, l.ToContain.High)
	}
	fmt.Println("CPU: mean of all processes of a run that were waited for; not in it: kernel threads (netns teardown, grace periods), daemons")
	f.Times = append(f.Times, lines...)
}

func (f *report) printParallel(rows []*row, took map[*row][]time.Duration, what string) {
	heading("%s, seconds: median of %d", what, len(took[rows[0]]))
	slices.SortFunc(rows, func(a, b *row) int { return int(median(took[a]) - median(took[b])) })
	for _, r := range rows {
		seconds := median(took[r]).Seconds()
		f.Parallel[r.tool.name] = seconds
		fmt.Printf("%-11s %6.2f\n", r.tool.name, seconds)
	}
}

func (f *report) printMemory(found []footprint, count int) {
	heading("Memory of the tool's own per running program, with %d running: PSS, KiB", count)
	slices.SortFunc(found, func(a, b footprint) int { return int(a.PSS - b.PSS) })
	fmt.Printf("%-11s %8s %14s %10s\n", "tool", "PSS", "script around", "processes")
	for _, p := range found {
		fmt.Printf("%-11s %8.0f %14.0f %10.1f\n", p.Tool, p.PSS, p.Script, p.Processes)
	}
	fmt.Println("not in it: the program, the kernel's memory, daemons")
	f.Memory = found
}

func (f *report) printThroughput(found []throughput) {
	heading("What a program does in a second, in the same cgroup and netns; %d runs of %s ms each", f.Runs, loadTime)
	fmt.Printf("%-6s %16s   %s\n", "", "limit", "contain's to that, 95 %")
	for _, t := range found {
		fmt.Printf("%-6s %9.4g %-6s   %.3f (%.3f to %.3f)\n", t.Load, t.Bare, t.Unit, t.Times.Ratio, t.Times.Low, t.Times.High)
	}
	f.Throughput = found
}

func (f *report) printGrowth(found []growth) {
	heading("J0 with more and more there, %v apart: p50, ms", space)
	fmt.Printf("%-36s %8s %8s\n", "", "contain", "limit")
	for _, g := range found {
		l := growthLine{g.Condition, milliseconds(g.Contain), milliseconds(g.Limit)}
		fmt.Printf("%-36s %8.2f %8.2f\n", l.Condition, l.Contain, l.Limit)
		f.Growth = append(f.Growth, l)
	}
}

// write writes the JSON and the plot to where they are wanted.
func (f *report) write(out, plot string) error {
	f.LoadAfter = loadAverage()
	fmt.Printf("\nload now: %s\n", f.LoadAfter)
	var err error
	if out != "" {
		data, jsonErr := json.MarshalIndent(f, "", " ")
		err = errors.Join(jsonErr, os.MkdirAll(filepath.Dir(out), 0o755), os.WriteFile(out, append(data, '\n'), 0o644))
	}
	if plot != "" && len(f.Times) > 0 {
		err = errors.Join(err, os.WriteFile(plot, f.plot(), 0o644))
	}
	return err
}
