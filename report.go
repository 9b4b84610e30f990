// The report: one line of JSON about a run, for programs that run contain. It
// tells the program's 125 from contain's, a memory limit from a kill -9, and what
// all of the program's processes have used. contain(8) documents every member.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The stages of a run: how far it came.
const (
	stageUsage = "usage" // the command line was read
	stageCheck = "check" // and compared with the host
	stageSetup = "setup" // the container was being made
	stageExec  = "exec"  // the program was to be executed
	stageRun   = "run"   // it ran
)

// Why a run has ended.
const (
	causeExited  = "exited"
	causeSignal  = "signal"
	causeOOM     = "oom"
	causeTimeout = "timeout"
	causeCPUTime = "cpu-time"
	causeContain = "contain" // could not do what it was asked to
)

// record collects the report of a run.
type record struct {
	wanted bool
	fd     int

	Schema  int               `json:"schema"`
	Version string            `json:"contain"`
	ID      *string           `json:"id"`
	Stage   string            `json:"stage"`
	Cause   string            `json:"cause"`
	Status  int               `json:"status"`
	Exit    *int              `json:"exit"`
	Signal  *int              `json:"signal"`
	Killed  *bool             `json:"killed"`
	Error   *string           `json:"error"`
	Wall    *int64            `json:"wall_us"`
	figures                   // embedded: its members stand among these
	Limits  *limitsReport     `json:"limits"`
	Applied map[string]string `json:"limits_applied"`
	Found   map[string]string `json:"limits_found"`
}

// limitsReport are the limits as asked for; null is none.
type limitsReport struct {
	Memory     *int64            `json:"memory_bytes"`
	MemorySoft *int64            `json:"memory_soft_bytes"`
	CPUIDs     *string           `json:"cpu_core_ids"`
	CPUs       *float64          `json:"cpus"`
	CPUWeight  *uint64           `json:"cpu_weight"`
	Pids       *int64            `json:"pids"`
	Ulimits    map[string]string `json:"ulimits"`
	IOMax      []ioReport        `json:"io_max"`
	Bandwidth  *bandwidthReport  `json:"network_bandwidth"`
	Wall       *int64            `json:"timeout_us"`
	Grace      *int64            `json:"grace_us"`
	CPUTime    *int64            `json:"cpu_time_us"`
}

// ioReport is one limit of block I/O.
type ioReport struct {
	Device string  `json:"device"`
	RBPS   *uint64 `json:"rbps"`
	WBPS   *uint64 `json:"wbps"`
	RIOPS  *uint64 `json:"riops"`
	WIOPS  *uint64 `json:"wiops"`
}

// bandwidthReport is in bits a second.
type bandwidthReport struct {
	Down *uint64 `json:"down_bits_per_second"`
	Up   *uint64 `json:"up_bits_per_second"`
}

// open opens what the report is to be written to, fd:N or a file, so that it is
// known to be there before anything else is done. "" is none.
func (r *record) open(to string) (err error) {
	r.Schema, r.Version, r.Stage = 1, version, stageUsage
	if to == "" {
		return nil
	}
	if number, ok := strings.CutPrefix(to, "fd:"); ok {
		r.fd, err = inherited(number)
	} else {
		r.fd, err = unix.Open(to, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
	}
	if err != nil {
		return fmt.Errorf("-report %s: %w", quoted(to), err)
	}
	r.wanted = true
	return nil
}

// inherited returns the caller's descriptor of that number; the program does not
// get it.
func inherited(number string) (int, error) {
	n, err := strconv.ParseInt(number, 10, 32)
	fd := int(n)
	if err != nil || !isWhole(number) {
		return -1, errors.New("not a descriptor, such as fd:3")
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	switch {
	case err != nil:
		return -1, err
	case flags&unix.O_ACCMODE == unix.O_RDONLY || flags&unix.O_PATH != 0:
		return -1, errors.New("not open for writing")
	}
	if fd > 2 {
		unix.CloseOnExec(fd)
	}
	return fd, nil
}

// ask notes the limits that are asked for.
func (r *record) ask(o options) {
	pids := o.pids
	if pids == 0 {
		pids = pidsLimit
	}
	l := &limitsReport{Memory: unlessZero(o.memory), MemorySoft: unlessZero(o.memorySoft), CPUWeight: unlessZero(o.cpuWeight),
		CPUs: unlessZero(float64(o.cpuQuota) / cpuPeriod), Pids: &pids, Ulimits: map[string]string{},
		Wall: unlessZero(o.wall.Microseconds()), CPUTime: unlessZero(o.cpuTime.Microseconds()), IOMax: []ioReport{}}
	if o.cpus != nil {
		ids := o.cpus.String()
		l.CPUIDs = &ids
	}
	if l.Wall != nil || l.CPUTime != nil {
		us := o.grace.Microseconds()
		l.Grace = &us
	}
	for _, limit := range o.rlimits {
		l.Ulimits[limit.name] = limit.String()
	}
	if o.bandwidth != (bandwidth{}) {
		l.Bandwidth = &bandwidthReport{unlessZero(o.bandwidth.Down), unlessZero(o.bandwidth.Up)}
	}
	for _, limit := range o.io {
		l.IOMax = append(l.IOMax, ioReport{limit.device, unlessZero(limit.rbps), unlessZero(limit.wbps), unlessZero(limit.riops), unlessZero(limit.wiops)})
	}
	r.Limits = l
}

func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// look notes what the container's cgroup says, if the program ran and has ended.
func (r *record) look(c *container) {
	if !r.wanted {
		return
	}
	r.ID, r.Applied = &c.id, c.applied
	if !c.ended.Load() || c.startedAt.IsZero() {
		return
	}
	if o := c.overtime; o != nil {
		r.Killed = &o.killed
		r.ending(o.ending)
	}
	r.Stage = stageRun
	wall := c.endedAt.Sub(c.startedAt).Microseconds()
	r.Wall = &wall
	r.figures = readFigures(c.cgroup)
	r.Network = c.networkUse()
	if r.Found = c.found; r.Found == nil {
		r.Found = readLimits(c.cgroup)
	}
}

// ending notes how the program has ended.
func (r *record) ending(st status) {
	r.Exit, r.Signal = nil, nil
	if n := int(st.signal); n != 0 {
		r.Signal = &n
	} else {
		r.Exit = &st.code
	}
}

// write writes the report of a run that ends with st, for failure.
func (r *record) write(st status, failure error) error {
	if !r.wanted {
		return nil
	}
	r.Cause, r.Status = st.cause, st.code
	if st.signal != 0 {
		r.Status = exitSignalShift + int(st.signal)
	}
	if st.signal != 0 || st.cause == causeExited {
		r.ending(st)
	}
	if failure != nil {
		text := oneLine(failure.Error())
		r.Error = &text
	}
	line, err := json.Marshal(r)
	if err == nil {
		letDie() // perhaps nobody reads
		err = writeAll(r.fd, append(line, '\n'))
	}
	if r.fd > 2 {
		err = then(err, unix.Close(r.fd))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// writeAll writes to a descriptor as it is: the caller may have made it non-blocking,
// and os.File would die of a SIGPIPE at 1 and 2.
func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		switch err {
		case nil:
			data = data[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		default:
			return err
		}
	}
	return nil
}
