// Contain runs one program in a constrained environment and ends as it ended.
//
// Theory of operation. These processes exist:
//
//   - contain itself, in the caller's namespaces, as root. It reads argv into
//     options, checks them against the host without changing anything, turns
//     them into a libcontainer configuration, and from then on undoes every
//     change it makes, on every path. While the program runs it waits, passes
//     signals on, and reads reports from pid1; after a second it executes itself
//     again to do that without Go (rest.go, rest.c, asleep.c), and once more when
//     there is more to do.
//   - libcontainer's init: this same binary, executed again (init.go). It
//     becomes PID 1 of new namespaces, mounts what contain wants (setup.go,
//     mounts.go) and pivots into the rootfs. When contain says
//     so, which is after the network interface is ready, it executes
//   - pid1: one page of C (pid1.c), from then on PID 1. It dies with contain,
//     and the whole PID namespace with it. Its child enters the container's
//     cgroup, drops capabilities and becomes
//   - the program. With -init=false pid1 itself does.
//   - under systemd, a keeper for the cgroup of these (systemd.go).
//
// Data flows one way, one file per step:
//
//	argv -> options.go -> (size.go cpuset.go limits.go rlimit.go address.go privileges.go)
//	     -> host.go (rootfs.go trust.go program.go capability.go seccomp.go bpf.go
//	     cgroup.go blockio.go network.go) -> config.go
//	     -> container.go (sweep.go manager.go setup.go mounts.go pid1.go verify.go) + network.go (attach.go claim.go
//	     strict.go names.go bandwidth.go)
//	     -> signals.go tty.go deadline.go rest.go -> figures.go report.go status.go
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// usage is what -h prints and what README.md repeats; a test keeps the two,
// the flag set and contain.8 in step.
const usage = `Usage: contain -chroot DIR [flag ...] [--] program [argument ...]
       contain gc [-state-dir DIR]

Run program with DIR as its root file system, in namespaces of its own and
within the given limits, and end as it ended. Must be run as root.
gc removes what contains that were killed have left, as the next start does.

  -chroot DIR            directory that becomes / (required)
  -memory-limit SIZE     memory and swap of all its processes together, such as
                         128M or 1.5G (binary units); beyond it they are killed
  -memory-soft-limit SIZE
                         memory beyond which it is slowed down and reclaimed from
  -virtual-memory-limit SIZE
                         address space of each process; allocations fail
  -ulimit NAME=SOFT[:HARD]
                         another limit of each process, such as nofile=1024;
                         may be repeated
  -cpu-core-ids LIST     CPUs it may run on, such as 1,3 or 0-7 or 3,5-7
                         (also spelt -cpu-coreids)
  -cpus N                CPU time it may use, in CPUs, such as 1.5
  -cpu-weight N          its share where CPUs are short, 1 to 10000; others have 100
  -pids-limit N          processes and threads (default 4096)
  -io-max DEVICE:KEY=N[,KEY=N...]
                         rbps, wbps (bytes), riops, wiops (operations) a second, such
                         as /dev/sda:wbps=10M; or a path on it, or 8:0; may be repeated
  -network-address CIDR  address of its eth0 with prefix length, such as
                         192.168.2.17/24; IPv4 or IPv6, may be repeated;
                         without it the program has loopback only
  -bridge NAME           existing bridge that eth0 is attached to
                         (default docker0)
  -network-bandwidth RATE
                         of eth0, such as 10mbit, or 10mbit/down:1mbit/up
  -network KIND          none, bridge, host, netns:PATH (an existing one),
                         macvlan:INTERFACE or ipvlan:INTERFACE (default: bridge
                         with -network-address, else none)
  -dns ADDRESS           name server in its own /etc/resolv.conf, may be repeated
  -hosts NAME:ADDRESS    line of its own /etc/hosts, may be repeated
  -gateway ADDRESS       default route, may be repeated; or none (default: the
                         bridge's address, if that is in the program's network)
  -network-name NAME     of the interface instead of eth0
  -network-mac MAC       its hardware address
  -network-mtu N         its MTU (default: the bridge's)
  -network-strict        let only its own addresses out, and no routers' or DHCP
                         servers' messages, VLAN tags, or packets to loopback
  -check-address=false   do not ask the segment whether somebody has the address
  -user UID[:GID]        whom it runs as, by number (default 0:0)
  -userns[=HOSTID:COUNT] its processes are nobody's on the host: their ids are a free
                         range of the host's, or this one; DIR keeps its owners
  -cap-add, -cap-drop NAME
                         capability such as NET_ADMIN, or ALL; may be repeated
  -read-only             nothing in DIR can be written to
  -device PATH[:rwm]     device that it may use, may be repeated
  -env NAME[=VALUE]      variable (without =VALUE the caller's), may be repeated
  -workdir PATH          directory in DIR where it begins (default /)
  -hostname NAME         its host name (default: the run's id)
  -sysctl NAME=VALUE     kernel parameter of its namespaces, may be repeated
  -seccomp FILE|none     profile in Docker's JSON instead of Docker's own
  -allow-32bit           32-bit programs, too
  -allow-new-privs       gain privileges by set-user-ID files and file capabilities
  -allow-untrusted-root  DIR that others than root can change
  -unmask PATH           show what is masked or read-only in /proc or /sys; or ALL;
                         may be repeated
  -timeout TIME          such as 30s or 1.5h: then SIGTERM, after the grace SIGKILL,
                         and status 124
  -cpu-time TIME         the same for the CPU time of all its processes together
  -grace TIME            from SIGTERM to SIGKILL (default 5s)
  -report FILE|fd:N      write a line of JSON: how it ended, what it used
  -tty=auto              auto, always or never: whether the program gets a terminal of
                         its own; auto: if standard input is one
  -init=false            make program PID 1 of its PID namespace, such as a systemd;
                         else it is the child of a small init that reaps
  -print-config          print what the program would get, as JSON, and run nothing
  -state-dir DIR         where running containers are recorded
                         (default /run/contain)
  -h, -version           print this text, or the version, and exit

-flag and --flag are the same. Of a flag given twice the last one counts, save
where it may be repeated.

Exit status: that of program; if a signal killed it, contain dies of the same
signal. 124 time limit, 125 contain failed, 126 program cannot be executed,
127 not found.
`

// version and commit are set by the Makefile, from git.
var version, commit string

func init() {
	// The kernel sends PDEATHSIG when the *thread* that forked ends, see
	// PR_SET_PDEATHSIG(2const). The main thread ends only with the process.
	runtime.LockOSThread()
}

func main() {
	st, err := run(os.Args[min(1, len(os.Args)):], os.Stdout) // there may be not even a name
	if err != nil {
		letDie()
		report(unread(2), err)
	}
	st.end()
}

// run does what args ask for and returns how contain must end and the one thing,
// if any, that the user must be told.
func run(args []string, stdout io.Writer) (st status, err error) {
	var rec record
	defer func() {
		if p := recover(); p != nil {
			st, err = failed, internalError(p)
		}
		err = then(err, rec.write(st, err))
	}()
	opts, err := parseOptions(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err = io.WriteString(stdout, usage)
		return statusOf(err), err
	case opts.version && err == nil:
		_, err = fmt.Fprintln(stdout, versionText())
		return statusOf(err), err
	}
	if os.Getuid() != os.Geteuid() { // all that follows would be done for anybody
		return failed, errors.New("must not be set-user-ID: only root may run it")
	}
	if rested, err := readRested(); rested != nil && err == nil {
		return rested.wakeUp(opts, &rec)
	} else if err != nil {
		return failed, fmt.Errorf("wake up: %w", err)
	}
	if err = then(err, rec.open(opts.report)); err != nil {
		return statusOf(err), err
	}
	if opts.gc {
		err = collectGarbage(opts.stateDir, unread(1))
		return statusOf(err), err
	}
	if opts.print {
		h, err := checkHost(opts)
		if err == nil {
			defer h.close()
			err = printConfig(stdout, opts, h)
		}
		return statusOf(err), err
	}
	return runProgram(opts, &rec)
}

// internalError is what a panic with p is reported as, with the place in contain
// where it was. It must be called by the deferred function that has recovered.
func internalError(p any) error {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "main.") {
			return fmt.Errorf("internal error: %v (%s:%d)", p, filepath.Base(frame.File), frame.Line)
		} else if !more {
			return fmt.Errorf("internal error: %v", p)
		}
	}
}

// runProgram is the whole of a run, in order. All that it changed on the host
// is undone when it returns.
func runProgram(opts options, rec *record) (st status, err error) {
	rec.ask(opts)
	sigs, err := catchSignals()
	if err != nil {
		return statusOf(err), err
	}
	rec.Stage = stageCheck
	h, err := checkHost(opts)
	if err != nil {
		return statusOf(err), err
	}
	defer h.close()
	rec.Stage = stageSetup
	// From now on only for others is anything made: cgroups, that the program's user can
	// read its limits. The program has the caller's umask.
	unix.Umask(0o022)
	claim, question, err := h.reserve(opts)
	if err != nil {
		return statusOf(err), err
	}
	defer claim.release()
	defer question.close()
	ids, err := opts.claimIDs()
	if err != nil {
		return statusOf(err), err
	}
	defer ids.release()
	c, err := createContainer(opts, h)
	if err != nil {
		return statusOf(err), err
	}
	defer func() {
		rec.look(c)
		err = then(err, c.destroy())
	}()
	c.question, c.addresses, c.users, c.rec = question, claim, ids, rec
	sigs.collect(c)
	if sig, err := c.setUp(opts, h, sigs); sig != 0 {
		return status{signal: sig, cause: causeSignal}, nil
	} else if err != nil {
		return statusOf(err), err
	}
	rec.Stage = stageExec
	if err := c.exec(sigs); err != nil {
		return statusOf(err), err
	}
	return c.attend()
}

// attend stays with the program until it has ended.
func (c *container) attend() (status, error) {
	go c.guard(func() { c.sigs.forward(c) })
	st, err := c.wait()
	if err := c.fault(); err != nil {
		return failed, err
	}
	return st, err
}

// setUp brings the container up to where the program only has to be executed. If
// it returns a signal, contain has got that meanwhile, and must end of it.
func (c *container) setUp(opts options, h host, sigs *signals) (unix.Signal, error) {
	stop := c.abortOn(sigs)
	err := c.start(h.rootfs)
	sig, aborted := stop()
	if aborted {
		return sig, nil
	}
	if err == nil {
		sig, err = c.connect(sigs)
	}
	if sig != 0 {
		return sig, nil
	}
	if err == nil && h.tty.replace != 0 {
		err = c.openTerminal(h.tty)
	}
	if err != nil {
		sig, _ = sigs.soon() // it may have hit the init too, and be the reason
		return sig, err
	}
	sig, _ = sigs.pending()
	return sig, nil
}

// versionText names contain's version, the commit it was built from, and the
// libcontainer inside it.
func versionText() string {
	v, rev, lib := version, commit, "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && rev == "" {
				rev = s.Value
			}
		}
		for _, d := range info.Deps {
			if d.Path == "github.com/opencontainers/runc" {
				lib = d.Version
			}
		}
	}
	if rev == "" {
		rev = "unknown"
	}
	return fmt.Sprintf("contain %s (commit %s, libcontainer %s, %s)", v, rev, lib, runtime.Version())
}
