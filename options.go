// What the user asked for: argv, parsed and typed, without a look at the host.

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// options holds argv after parsing. Nothing in it was compared with the host.
type options struct {
	rootfs   string         // -chroot, as given
	memory   int64          // bytes; 0: no limit
	cpus     cpuSet         // nil: no restriction
	address  []netip.Prefix // of eth0; none: loopback only
	bridge   string
	stateDir string
	tty      string   // auto, always or never
	argv     []string // the program and its arguments
	init     bool     // the program is not PID 1, a small init is
	version  bool
}

const usageHint = "contain -h lists the flags; they go before the program"

// newFlagSet binds the flags to opts and to the texts that need parsing of
// their own, so that each error names its flag the same way.
func newFlagSet(opts *options, text *flagText) *flag.FlagSet {
	fs := flag.NewFlagSet("contain", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&opts.rootfs, "chroot", "", "")
	fs.Var(&text.memory, "memory-limit", "")
	fs.Var(&text.cpus, "cpu-core-ids", "")
	fs.Var(&text.cpus, "cpu-coreids", "")
	fs.Var(&text.address, "network-address", "")
	fs.StringVar(&opts.bridge, "bridge", "docker0", "")
	fs.StringVar(&opts.stateDir, "state-dir", "/run/contain", "")
	fs.StringVar(&opts.tty, "tty", "auto", "")
	fs.BoolVar(&opts.init, "init", true, "")
	fs.BoolVar(&opts.version, "version", false, "")
	return fs
}

// flagText keeps the values of flags that are parsed after the command line.
type flagText struct {
	memory, cpus, address textValue
}

// textValue records every value given to a flag.
type textValue []string

func (v *textValue) String() string { return strings.Join(*v, " ") }

func (v *textValue) Set(s string) error {
	*v = append(*v, s)
	return nil
}

// last returns the value that counts when a flag is given more than once.
func (v textValue) last() (string, bool) {
	if len(v) == 0 {
		return "", false
	}
	return v[len(v)-1], true
}

// parseOptions reads the arguments after contain's own name. It returns
// flag.ErrHelp for -h.
func parseOptions(args []string) (options, error) {
	var opts options
	var text flagText
	// The problem statement this tool answers writes `contain chroot DIR`.
	if len(args) > 0 && args[0] == "chroot" {
		args = append([]string{"-chroot"}, args[1:]...)
	}
	fs := newFlagSet(&opts, &text)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return opts, err
	} else if err != nil {
		return opts, withHint(err, usageHint)
	}
	opts.argv = fs.Args()
	if opts.version {
		return opts, nil
	}
	if err := text.parse(&opts); err != nil {
		return opts, err
	}
	return opts, opts.checkUsage(fs)
}

// parse turns the texts into values.
func (t *flagText) parse(opts *options) (err error) {
	if s, given := t.memory.last(); given {
		if opts.memory, err = parseMemory(s); err != nil {
			return fmt.Errorf("-memory-limit %s: %w", quoted(s), err)
		}
	}
	if s, given := t.cpus.last(); given {
		if opts.cpus, err = parseCPUs(s); err != nil {
			return fmt.Errorf("-cpu-core-ids %s: %w", quoted(s), err)
		}
	}
	for _, s := range t.address {
		prefix, err := parseAddress(s)
		if err != nil {
			return fmt.Errorf("-network-address %s: %w", quoted(s), err)
		}
		opts.address = append(opts.address, prefix)
	}
	return nil
}

// checkUsage reports what is missing from, or cannot be right in, the command
// line as a whole.
func (o *options) checkUsage(fs *flag.FlagSet) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case !given["chroot"]:
		return withHint(errors.New("-chroot is required"), usageHint)
	case o.rootfs == "":
		return errors.New(`-chroot "": empty`)
	case o.stateDir == "":
		return errors.New(`-state-dir "": empty`)
	case o.tty != "auto" && o.tty != "always" && o.tty != "never":
		return fmt.Errorf("-tty %s: not auto, always or never", quoted(o.tty))
	case len(o.argv) == 0:
		return withHint(errors.New("no program given"), usageHint)
	}
	if err := checkInterfaceName(o.bridge); err != nil {
		return fmt.Errorf("-bridge %s: %w", quoted(o.bridge), err)
	}
	return nil
}

// quoted is s for a message: quoted, and cut if it is very long.
func quoted(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
